"""Encoder-decoder classifiers, which read their answer at an end token."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch


@pytest.fixture
def encoder_decoder(tmp_path: Path, vocabulary_file: Path) -> Callable[[str], tuple[Path, str]]:
    """What writes a "bart" with BERT's tokenizer, or a "t5" with sentence pieces: a folder, and its end token."""

    def write(kind: str) -> tuple[Path, str]:
        import sentencepiece
        from transformers import BartConfig, BartForSequenceClassification, BertTokenizer, T5Config
        from transformers import T5ForSequenceClassification as Classifier

        folder = tmp_path / kind
        torch.manual_seed(0)
        if kind == "t5":
            folder.mkdir()
            characters = vocabulary_file.read_text(encoding="utf-8").split()[6:66]
            with (folder / "spiece.model").open("wb") as file:
                sentencepiece.SentencePieceTrainer.train(
                    sentence_iterator=iter(["".join(characters[n:] + characters[:n]) for n in range(60)]),
                    **{"model_writer": file, "vocab_size": 80, "hard_vocab_limit": False, "minloglevel": 2},
                    **{"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
                )
            stated = {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
            (folder / "tokenizer_config.json").write_text(json.dumps({**stated, "extra_ids": 0}), encoding="utf-8")
            sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}
            config = T5Config(vocab_size=100, num_labels=3, initializer_factor=3.0, decoder_start_token_id=0, **sizes)
            Classifier(config).save_pretrained(folder)
            return folder, "</s>"
        tokenizer = BertTokenizer.from_pretrained(str(vocabulary_file.parent), eos_token="[SEP]")
        sizes = dict.fromkeys(
            ("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"), 1
        )
        ids = {"pad": tokenizer.pad_token_id, "bos": tokenizer.cls_token_id, "eos": tokenizer.sep_token_id}
        bart = BartConfig(
            vocab_size=len(tokenizer),
            d_model=16,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            max_position_embeddings=64,
            init_std=0.5,
            decoder_start_token_id=tokenizer.sep_token_id,
            forced_eos_token_id=None,
            num_labels=3,
            **sizes,
            **{f"{key}_token_id": index for key, index in ids.items()},
        )
        BartForSequenceClassification(bart).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder, "[SEP]"

    return write

"""A checkpoint whose sentencepiece model transformers reads in another way than sentencepiece does."""

import io
from pathlib import Path

import pytest
import sentencepiece
import transformers

from clue_bench.diagnosis.examine import examine
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.vocab import read_vocabulary

NAMES = {"pad_piece": "[PAD]", "unk_piece": "[UNK]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}
IDS = {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({}, None), ({"add_dummy_prefix": False}, "add_dummy_prefix"), ({"model_type": "bpe"}, "BPE")],
)
def test_other_ids_of_pieces_are_named_by_doctor_and_when_the_model_is_opened(
    tmp_path: Path, settings: dict[str, object], reason: str | None
) -> None:
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["今天天气很好", "明天去公园玩", "今天去公园"] * 20),
        model_writer=writer,
        vocab_size=24,
        user_defined_symbols=["[MASK]"],
        minloglevel=2,
        hard_vocab_limit=False,
        **NAMES,
        **IDS,
        **settings,
    )
    (tmp_path / "spiece.model").write_bytes(writer.getvalue())
    vocabulary = read_vocabulary(tmp_path / "spiece.model")
    vocabulary.save(tmp_path, max_length=32)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.BertConfig(vocab_size=len(vocabulary), max_position_embeddings=32, **sizes)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    found = [finding for finding in examine(str(tmp_path)).findings if "gives other ids" in finding.text]
    notes = [note for note in open_pretrained(tmp_path).notes if "gives other ids" in note]
    assert len(found) == len(notes) == (reason is not None)
    assert all(finding.severity == "wrong" and reason in finding.text for finding in found)

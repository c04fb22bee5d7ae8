"""A healthy checkpoint is called healthy, and each kind of damage is called by its name."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import save_file

from clue_bench.diagnosis.behaviour import CHARACTERS
from clue_bench.diagnosis.examine import examine
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary

from .conftest import KNOWN, SIZES, TOKENIZER, VOCABULARY, WORDS, change, drop, notes, replace, rewrite, save, wrong
from .test_family import roformer_v2


def test_a_trained_bert_is_healthy_and_its_verdict_says_what_it_is(trained_bert):
    report = examine(str(trained_bert))
    assert report.healthy
    assert report.verdict == (
        f"This is a BERT of 2 layers, 64 wide, with a vocabulary of {len(VOCABULARY)} tokens and "
        "a trained masked-language-model head; nothing is wrong."
    )
    assert [one.answers[0].token for one in report.filled] == [right for _, right in CHARACTERS]
    assert report.parameters.encoder == sum(
        part.numel() for part in transformers.BertModel(transformers.BertConfig(**SIZES)).parameters()
    )
    assert report.parameters.with_head == sum(
        part.numel() for part in transformers.BertForMaskedLM(transformers.BertConfig(**SIZES)).parameters()
    )


def test_a_trained_gpt2_is_healthy_and_continues_what_it_learned(trained_gpt2):
    report = examine(str(trained_gpt2), texts=["今天天气很好"])
    assert report.healthy
    assert "a trained language-model head" in report.verdict
    assert report.continued[-1].greedy.startswith("，")
    assert report.continued == examine(str(trained_gpt2), texts=["今天天气很好"]).continued


def test_our_own_checkpoint_is_healthy_but_untrained(checkpoint_folder):
    assert set(wrong(checkpoint_folder)) <= {"answers"}
    report = examine(str(checkpoint_folder))
    assert report.folder.endswith("checkpoint")
    assert report.verdict.startswith("This is a BERT of 2 layers, 32 wide")


def albert():
    return transformers.AlbertForPreTraining(transformers.AlbertConfig(**SIZES, embedding_size=16))


def roformer():
    return transformers.RoFormerForMaskedLM(transformers.RoFormerConfig(**SIZES))


def electra():
    return transformers.ElectraForMaskedLM(transformers.ElectraConfig(**SIZES, embedding_size=64))


def gpt2():
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=len(VOCABULARY), n_embd=64, n_layer=1, n_head=2, n_positions=64)
    )


@pytest.mark.parametrize("make", [albert, roformer, electra, gpt2])
def test_fresh_weights_of_every_family_are_whole_but_untrained(make, tmp_path):
    torch.manual_seed(0)
    folder = save(make(), tmp_path / "model")
    change(folder, pad_token_id=0)
    report = examine(str(folder))
    (only,) = [one for one in report.findings if one.severity == "wrong"]
    assert only.check == "answers"
    assert "answers like an untrained model" in report.verdict
    assert "initial values" in notes(folder)


def test_a_roberta_that_is_a_bert_is_named_and_read_as_bert(bert):
    change(bert, model_type="roberta", architectures=["RobertaForMaskedLM"])
    report = examine(str(bert))
    assert report.verdict.startswith("config.json claims RoBERTa, the weights are BERT's (names start with bert.")
    assert "read as BertForMaskedLM, every tensor fits" in report.verdict
    assert not report.healthy
    assert report.filled[0].answers[0].token == "京"
    (finding,) = [one for one in report.findings if one.check == "family"]
    assert '"model_type": "bert", "architectures": ["BertForMaskedLM"]' in finding.hint


def test_a_roberta_with_a_bare_berts_512_rows_is_named(bert):
    change(bert, model_type="roberta", architectures=["RobertaModel"], max_position_embeddings=512)
    rewrite(
        bert,
        lambda tensors: {
            name.removeprefix("bert."): torch.randn(512, 64) if "position" in name else tensor
            for name, tensor in tensors.items()
            if name.startswith("bert.")
        },
    )
    assert "the weights are BERT's (512 position rows, 2 segment rows)" in wrong(bert)["family"]


def test_a_real_roberta_is_no_bert(tmp_path):
    config = transformers.RobertaConfig(
        **{**SIZES, "max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}
    )
    folder = save(transformers.RobertaForMaskedLM(config), tmp_path / "model")
    assert "family" not in wrong(folder)
    assert "pad_token_id 1 is '[UNK]', [PAD] is 0" in wrong(folder)["special tokens"]
    assert "pairs would crash" in notes(folder)


def test_an_xlm_roberta_keeps_its_own_class(tmp_path):
    config = transformers.XLMRobertaConfig(**{**SIZES, "max_position_embeddings": 66, "type_vocab_size": 1})
    folder = save(transformers.XLMRobertaForMaskedLM(config), tmp_path / "model")
    assert set(wrong(folder)) <= {"answers"}
    assert "have XLMRobertaForMaskedLM's names" in "".join(one.text for one in examine(str(folder)).findings)


def test_a_roformer_v2_in_a_roformer_is_named(tmp_path):
    folder = save(roformer(), tmp_path / "model")
    save_file({name: torch.randn(shape) for name, shape in roformer_v2().items()}, folder / "model.safetensors")
    report = examine(str(folder))
    assert report.verdict.startswith("The weights are RoFormerV2's (linear layers have no biases")
    assert "config.json says RoFormer" in report.verdict
    assert report.filled == ()


def test_uer_weights_name_the_command_that_converts_them(bert):
    rewrite(bert, lambda _: {"encoder.transformer.0.self_attn.linear_layers.0.weight": torch.ones(8, 8)})
    (finding,) = [one for one in examine(str(bert)).findings if one.check == "family"]
    assert finding.severity == "wrong"
    assert finding.hint == "run clue-bench convert --from uer"


def test_a_21128_config_with_another_vocabulary_names_both_numbers(bert):
    change(bert, vocab_size=21128)
    report = examine(str(bert))
    size = len(VOCABULARY)
    assert report.verdict.startswith(
        "config.json says vocab_size 21,128 (Google's Chinese vocabulary has so many), "
        f"vocab.txt is a vocabulary of {size} tokens, and so has the embedding"
    )
    assert report.read_as == f"with vocab_size {size}"
    assert set(wrong(bert)) == {"vocabulary"}


def test_the_published_vocabularies_are_recognised(bert, real_data):
    shutil.copy(real_data / "vocab" / "clue_vocab_8021.txt", bert / "vocab.txt")
    change(bert, vocab_size=21128)
    rewrite(
        bert,
        lambda tensors: {
            name: torch.zeros(21128, *tensor.shape[1:]).normal_() if len(tensor) == len(VOCABULARY) else tensor
            for name, tensor in tensors.items()
        },
    )
    (bert / "tokenizer.json").unlink()
    assert wrong(bert)["vocabulary"] == (
        "config.json says vocab_size 21,128 (Google's Chinese vocabulary has so many), vocab.txt is CLUE's vocabulary "
        "of 8,021 tokens, the embedding has 21,128 rows: the vocabulary is another model's"
    )
    shutil.copy(real_data / "vocab" / "google_zh_vocab_21128.txt", bert / "vocab.txt")
    assert "Google's Chinese vocabulary of 21,128 tokens" in examine(str(bert)).description


@pytest.mark.slow
def test_a_sentencepiece_vocabulary_wants_albert_tokenizer(bert, real_data):
    for name in ("vocab.txt", "tokenizer.json"):
        (bert / name).unlink()
    shutil.copy(real_data / "vocab" / "cluecorpussmall_spm.model", bert / "spiece.model")
    found = wrong(bert)
    assert "tokenizer_class is BertTokenizer, but spiece.model is for AlbertTokenizer" in found["tokenizer"]
    assert "UER's word vocabulary of 100,000 tokens" in found["vocabulary"]


@pytest.mark.slow
def test_albert_tokenizers_default_names_are_not_uers(tmp_path, real_data):
    config = transformers.AlbertConfig(**SIZES | {"vocab_size": 100_000}, embedding_size=16)
    folder = tmp_path / "model"
    transformers.AlbertForMaskedLM(config).save_pretrained(folder)
    shutil.copy(real_data / "vocab" / "cluecorpussmall_spm.model", folder / "spiece.model")
    (finding,) = [one for one in examine(str(folder)).findings if one.check == "special tokens"]
    assert finding.text == "spiece.model has no <pad>, <unk>: the tokenizer would number them from 100,000 on"
    assert finding.hint == 'set "pad_token": "[PAD]", "unk_token": "[UNK]" in tokenizer_config.json'
    tokenizer = {"tokenizer_class": "AlbertTokenizer", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    (folder / TOKENIZER).write_text(json.dumps(tokenizer), encoding="utf-8")
    assert set(wrong(folder)) == {"answers"}
    report = examine(str(folder))
    assert "answers like an untrained model" in report.verdict
    assert report.filled[0].text == "中国的首都是[MASK]。"


def test_an_embedding_padded_to_a_round_number_is_a_note(tmp_path):
    rows = len(VOCABULARY) + 8 - len(VOCABULARY) % 8
    folder = save(transformers.BertForMaskedLM(transformers.BertConfig(**SIZES | {"vocab_size": rows})), tmp_path / "m")
    assert "vocabulary" not in wrong(folder)
    assert f"padded to {rows} rows" in notes(folder)


def test_without_tokenizer_config_the_class_follows_model_type(bert):
    (bert / TOKENIZER).unlink()
    assert "AutoTokenizer takes BertTokenizer" in notes(bert)
    change(bert, model_type="gpt2")
    assert "AutoTokenizer takes GPT2Tokenizer for model_type 'gpt2'" in wrong(bert)["tokenizer"]


def test_a_head_where_only_an_encoder_was_promised_is_no_error(bert):
    change(bert, architectures=["BertModel"])
    assert wrong(bert) == {}
    assert "a head that this class lacks" in notes(bert)


def test_an_encoder_without_head_fills_no_masks(bert):
    change(bert, architectures=["BertModel"])
    drop("cls.")(bert)
    report = examine(str(bert))
    assert report.healthy
    assert report.filled == ()
    assert "no masked-language-model head" in report.verdict


def test_old_names_and_a_missing_prefix_are_what_transformers_accepts(bert):
    rewrite(
        bert,
        lambda tensors: {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in tensors.items()
        },
    )
    report = examine(str(bert))
    assert report.healthy
    assert report.filled[0].answers[0].token == "京"


@pytest.mark.parametrize("options", [{"max_shard_size": "50KB"}, None])
def test_shards_and_pickles_are_read_as_one_file_is(options, trained_bert, bert):
    model = transformers.BertForMaskedLM.from_pretrained(trained_bert)
    (bert / "model.safetensors").unlink()
    if options:
        model.save_pretrained(bert, **options)
        assert len(list(bert.glob("model-*.safetensors"))) > 1
    else:
        torch.save(model.state_dict(), bert / "pytorch_model.bin")
    report = examine(str(bert))
    assert report.healthy
    assert report.filled[0].answers[0].token == "京"


def test_a_constant_model_is_called_constant(bert):
    bias = torch.zeros(len(VOCABULARY))
    bias[VOCABULARY.ids["，"]] = 50.0
    rewrite(bert, lambda tensors: {**tensors, "cls.predictions.bias": bias})
    assert "it gives the same answer, '，', to all 6 sentences" in wrong(bert)["answers"]


def test_a_model_that_knows_other_text_gets_no_verdict_on_its_answers(bert):
    replace(WORDS, lambda one: one.roll(7, 0))(bert)
    report = examine(str(bert))
    assert "--text" in next(one.hint for one in report.findings if one.check == "answers")
    assert "a trained" not in report.verdict


def test_own_sentences_are_asked_mask_by_mask(trained_bert):
    report = examine(str(trained_bert), texts=["他是一[MASK]中[MASK]老师。"])
    assert [one.mask for one in report.filled[-2:]] == [1, 2]
    assert all(len(one.answers) == 5 for one in report.filled)
    with pytest.raises(ClueBenchError, match=r"no \[MASK\] in it"):
        examine(str(trained_bert), texts=["没有空格"])
    with pytest.raises(ClueBenchError, match="the model takes 64"):
        examine(str(trained_bert), texts=["我" * 80 + "[MASK]"])


def test_a_classifier_is_described_by_its_head(tmp_path):
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**SIZES))
    report = examine(str(save(model, tmp_path / "model")))
    assert report.healthy
    assert "and the head of BertForSequenceClassification; nothing is wrong." in report.verdict
    assert report.filled == ()
    assert report.parameters.has_pooler


def test_a_gpt2_that_continues_everything_alike_is_called_so(trained_gpt2, tmp_path):
    shutil.copytree(trained_gpt2, tmp_path / "model")
    rewrite(
        tmp_path / "model",
        lambda tensors: {
            **tensors,
            "transformer.ln_f.weight": torch.full((64,), 1e-6),
            "transformer.ln_f.bias": 99 * tensors["transformer.wte.weight"][VOCABULARY.ids["，"]],
        },
    )
    assert "it continues everything with '，'" in wrong(tmp_path / "model")["answers"]


def test_provenance_of_other_weights_is_wrong(checkpoint_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(checkpoint_folder / "checkpoint", folder)
    assert "provenance" not in wrong(folder)
    rewrite(folder, lambda tensors: {name: tensor * 2 for name, tensor in tensors.items()})
    assert "speaks of other weights" in wrong(folder)["provenance"]


def test_a_hub_model_is_taken_from_the_cache_when_offline(trained_bert, tmp_path, monkeypatch):
    import huggingface_hub.constants

    cached = tmp_path / "models--someone--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc", encoding="utf-8")
    shutil.copytree(trained_bert, cached / "snapshots" / "abc")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    report = examine("someone/tiny")
    assert report.healthy
    assert report.folder.endswith("abc")


def test_a_roformer_of_words_is_cut_with_jieba(tmp_path):
    words = Vocabulary((*SPECIAL_TOKENS, *sorted({"北京", "首都", "天气", "今天", *KNOWN})))
    model = transformers.RoFormerForMaskedLM(transformers.RoFormerConfig(**SIZES | {"vocab_size": len(words)}))
    folder = save(model, tmp_path / "model")
    words.save(folder, max_length=64)
    change(folder, TOKENIZER, tokenizer_class="RoFormerTokenizer")
    expected = [filled.unknown_share for filled in examine(str(folder)).filled]
    (folder / "tokenizer.json").unlink()
    report = examine(str(folder))
    assert {one.check for one in report.findings if one.severity == "wrong"} == {"answers"}
    assert report.filled[0].text == "中国的首都是[MASK]。"
    assert [filled.unknown_share for filled in report.filled] == expected
    assert "RoFormer's authors give pairs segment 0" in notes(folder)

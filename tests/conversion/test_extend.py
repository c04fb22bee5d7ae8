"""Tokens added to a model's vocabulary: their ids, their rows, and what transformers makes of the folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import clue_bench as cb
from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.errors import ClueBenchError

WORD = "encoder.embeddings.word.weight"
NEW = ["中国", "[E1]", "aba"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, vocabulary_file: Path) -> Path:
    """A tiny BERT of transformers with two rows of padding."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tokens = vocabulary_file.read_text(encoding="utf-8").splitlines()
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(tokens) + 2, max_position_embeddings=64, **sizes)
    transformers.BertForPreTraining(config).save_pretrained(folder)
    transformers.BertTokenizer(vocab={token: index for index, token in enumerate(tokens)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def extended(model: Path) -> Path:
    return cb.extend_vocabulary(model, NEW, out=model.parent / "extended").folder


def test_new_rows_are_the_means_of_their_pieces_and_old_ones_stay(model: Path, extended: Path) -> None:
    before, after = read_checkpoint(model), read_checkpoint(extended)
    first, ids = len(before.vocabulary), before.vocabulary.ids
    assert after.vocabulary.tokens[first:] == tuple(NEW)
    assert len(after.tensors[WORD]) == first + len(NEW)
    for name in (WORD, "bias"):
        old, new = before.tensors[name], after.tensors[name]
        assert torch.equal(new[:first], old[:first])
        torch.testing.assert_close(new[first], (old[ids["中"]] + old[ids["国"]]) / 2)
        torch.testing.assert_close(new[first + 1], old.mean(0))  # "[", "e1" and "]" are all unknown
        torch.testing.assert_close(new[first + 2], (old[ids["a"]] + old[ids["##b"]] + old[ids["##a"]]) / 3)


def test_transformers_finds_the_new_tokens(model: Path, extended: Path) -> None:
    text = "我们中国人[E1]aba ABA a"
    vocabulary = read_checkpoint(extended).vocabulary
    tokenizer = transformers.AutoTokenizer.from_pretrained(extended)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert vocabulary.encoder(special_tokens=True).ids([text]) == [ids]
    assert [tokenizer.convert_ids_to_tokens(index) for index in ids if index >= len(vocabulary) - 3] == [
        *("中国", "[E1]", "aba", "aba")
    ]
    loaded = transformers.AutoModelForPreTraining.from_pretrained(extended)
    assert type(loaded).__name__ == "BertForPreTraining"


def test_marks_are_never_masked_and_words_are(extended: Path) -> None:
    assert read_checkpoint(extended).vocabulary.is_ordinary[-3:].tolist() == [True, False, True]


def test_provenance_says_what_was_added_and_from_what(extended: Path) -> None:
    added = json.loads((extended / "provenance.json").read_text(encoding="utf-8"))["extended"]
    assert [(token["token"], token["mean_of"]) for token in added] == [
        ("中国", ["中", "国"]),
        ("[E1]", []),
        ("aba", ["a", "##b", "##a"]),
    ]


def test_an_extended_model_is_continued_and_keeps_its_tokens(extended: Path, text_file: Path, tmp_path: Path) -> None:
    corpus = cb.build_corpus(text_file, vocabulary=extended, out=tmp_path / "corpus", workers=1, progress=False)
    settings = {"max_length": 32, "global_batch": 4, "micro_batch": 4}
    run = cb.pretrain(
        start=extended, corpus=corpus, out=tmp_path / "run", steps=2, settings=settings, tracker="none", progress=False
    )
    assert read_checkpoint(run.folder).vocabulary == read_checkpoint(extended).vocabulary


def test_tokens_from_a_file_and_tokens_that_are_there_already(model: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("中国\n\n的\n", encoding="utf-8")
    done = cb.extend_vocabulary(model, tmp_path / "words.txt", out=tmp_path / "out")
    assert [token.text for token in done.extension.tokens] == ["中国"]
    assert "already: 的" in str(done)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["ABA"], "makes 'aba' of it"),
        (["的"], "has these tokens already"),
        ([" 中国"], "no token"),
        (["##国"], "no token"),
        (["中\u200b国"], "no token"),
        (["中\t国"], "no token"),
        ([], "no tokens to add"),
    ],
)
def test_tokens_that_no_text_gives_are_errors(model: Path, tmp_path: Path, tokens: list[str], message: str) -> None:
    with pytest.raises(ClueBenchError, match=message):
        cb.extend_vocabulary(model, tokens, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_word_around_an_added_token_is_an_error(model: Path, tmp_path: Path) -> None:
    tokenizer = transformers.BertTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["ab"])
    shutil.copytree(model, tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    with pytest.raises(ClueBenchError, match="cut into other tokens"):
        cb.extend_vocabulary(tmp_path / "model", ["aba"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_kept(model: Path, extended: Path) -> None:
    with pytest.raises(ClueBenchError, match="is not empty"):
        cb.extend_vocabulary(model, ["国人"], out=extended)


def test_appended_lines_of_a_vocabulary_lead_to_extend(
    model: Path, vocabulary_file: Path, text_file: Path, tmp_path: Path
) -> None:
    appended = tmp_path / "vocab.txt"
    appended.write_text(vocabulary_file.read_text(encoding="utf-8") + "中国\n", encoding="utf-8")
    corpus: Any = cb.build_corpus(text_file, vocabulary=appended, out=tmp_path / "corpus", workers=1, progress=False)
    with pytest.raises(ClueBenchError, match="differ in 1 token") as caught:
        cb.pretrain(start=model, corpus=corpus, out=tmp_path / "run", tracker="none")
    assert f"clue-bench vocab extend {model} --token '中国'" in caught.value.hint


@pytest.fixture(scope="module")
def exchanged(model: Path, vocabulary_file: Path) -> Path:
    """The model with half of its Chinese characters, in another order, and with tokens that it did not have."""
    tokens = vocabulary_file.read_text(encoding="utf-8").splitlines()
    special, rest = [t for t in tokens if t.startswith("[")], [t for t in tokens if not t.startswith("[")]
    file = model.parent / "other.txt"
    file.write_text("\n".join([*special, *reversed(rest), "aba", "##ab", "㋿"]), encoding="utf-8")
    return cb.exchange_vocabulary(model, file, out=model.parent / "exchanged").folder


def test_tokens_of_both_vocabularies_keep_their_rows_and_others_get_those_of_their_pieces(
    model: Path, exchanged: Path
) -> None:
    before, after = read_checkpoint(model), read_checkpoint(exchanged)
    old, new = before.tensors[WORD], after.tensors[WORD]
    was, now = before.vocabulary.ids, after.vocabulary.ids
    assert len(new) == len(now)
    for text in set(was) & set(now):
        assert torch.equal(new[now[text]], old[was[text]])
    torch.testing.assert_close(new[now["aba"]], (old[was["a"]] + old[was["##b"]] + old[was["##a"]]) / 3)
    torch.testing.assert_close(new[now["##ab"]], (old[was["##a"]] + old[was["##b"]]) / 2)
    torch.testing.assert_close(new[now["㋿"]], old.mean(0))
    assert after.provenance["vocabulary_exchanged"]["from_pieces"] == 3


def test_a_model_with_another_order_of_tokens_gives_the_same_logits(model: Path, exchanged: Path) -> None:
    text, logits = "中国人", []
    for folder in (model, exchanged):
        loaded = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        with torch.no_grad():
            found = loaded(**tokenizer(text, return_tensors="pt")).logits[0]
        logits.append(found[:, tokenizer.convert_tokens_to_ids(["中", "国", "人", "a"])])
    torch.testing.assert_close(logits[0], logits[1])


def test_a_vocabulary_of_another_kind_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nA\n", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}), encoding="utf-8")
    with pytest.raises(ClueBenchError, match="by other rules"):
        cb.exchange_vocabulary(model, tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()

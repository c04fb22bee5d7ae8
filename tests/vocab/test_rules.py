"""A folder's tokenizer: ours gives the ids that transformers gives, or says why it does not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast, RoFormerTokenizer

from clue_bench.errors import ClueBenchError
from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary, codes_of, read_vocabulary

TOKENS = (
    *SPECIAL_TOKENS,
    *("[unused1]", "的", "中", "国", "人", "。", "A", "a", "é", "e", "##a", "##A", "1", "新", "冠", "中国", "国人"),
)
TEXTS = ["中国人aA。", "ÉéAa 1", "我们中国的人", "新冠[E1]的 [E1]", "a[E2]A", "  中 国\t人 ", "中国人国人", ""]


def saved(folder: Path, kind: Any = BertTokenizer, *, vocab_file: bool = False, **settings: Any) -> Any:
    """Save a tokenizer of transformers over TOKENS, and return it."""
    tokenizer = kind(vocab={token: index for index, token in enumerate(TOKENS)}, **settings)
    tokenizer.save_pretrained(folder)
    if vocab_file:
        (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return tokenizer


def same_ids(vocabulary: Vocabulary, tokenizer: Any) -> bool:
    """Return whether texts, and the same texts as the lines of a corpus, have the ids of `tokenizer`."""
    expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    encoder = vocabulary.encoder(special_tokens=False)
    lines = encoder.encode_lines(codes_of("".join(f"{text}\n" for text in TEXTS)))
    assert (lines.at[1:] >= lines.at[:-1]).all()
    assert vocabulary.encoder(special_tokens=True).ids(TEXTS) == expected
    assert lines.ids.tolist() == [index for ids in expected for index in ids]
    return encoder.ids(TEXTS) == expected


@pytest.mark.parametrize("vocab_file", [False, True], ids=["tokenizer.json alone", "vocab.txt beside it"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": True},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
    ],
    ids=lambda settings: ", ".join(settings) or "usual",
)
def test_case_accents_and_chinese_are_those_of_the_folder(
    tmp_path: Path, settings: dict[str, Any], vocab_file: bool
) -> None:
    tokenizer = saved(tmp_path, vocab_file=vocab_file, **settings)
    vocabulary = read_vocabulary(tmp_path)
    assert vocabulary.tokens == TOKENS
    assert same_ids(vocabulary, tokenizer)


def test_tokens_added_by_transformers_are_found_in_texts_and_in_what_is_saved(tmp_path: Path) -> None:
    tokenizer = BertTokenizer(vocab={token: index for index, token in enumerate(TOKENS)})
    tokenizer.add_special_tokens({"additional_special_tokens": ["[E1]", "[E2]"]})
    tokenizer.add_tokens(["新冠"])
    tokenizer.save_pretrained(tmp_path / "theirs")
    vocabulary = read_vocabulary(tmp_path / "theirs")
    assert vocabulary.tokens == (*TOKENS, "[E1]", "[E2]", "新冠")
    assert same_ids(vocabulary, tokenizer)
    assert vocabulary.is_ordinary[-3:].tolist() == [False, False, True]
    vocabulary.save(tmp_path / "ours", max_length=64)
    assert same_ids(read_vocabulary(tmp_path / "ours"), AutoTokenizer.from_pretrained(tmp_path / "ours"))
    vocabulary.write_folder(tmp_path / "corpus")
    assert read_vocabulary(tmp_path / "corpus") == vocabulary


@pytest.mark.parametrize("vocab_file", [False, True])
def test_words_of_a_word_roformer_are_looked_up_whole(tmp_path: Path, vocab_file: bool) -> None:
    tokenizer = saved(tmp_path / "theirs", RoFormerTokenizer, vocab_file=vocab_file)
    vocabulary = read_vocabulary(tmp_path / "theirs")
    assert vocabulary.tokens.index("中国") in tokenizer("我们中国的人")["input_ids"]
    assert same_ids(vocabulary, tokenizer)
    vocabulary.save(tmp_path / "ours", max_length=64)
    assert same_ids(read_vocabulary(tmp_path / "ours"), RoFormerTokenizer.from_pretrained(tmp_path / "ours"))


def test_rules_make_another_vocabulary_and_the_usual_ones_do_not(tmp_path: Path) -> None:
    saved(tmp_path / "usual")
    saved(tmp_path / "cased", do_lower_case=False)
    assert read_vocabulary(tmp_path / "usual").sha256 == Vocabulary(TOKENS).sha256
    assert read_vocabulary(tmp_path / "cased").sha256 != Vocabulary(TOKENS).sha256


def test_a_tokenizer_of_no_known_class_is_read_from_its_json(tmp_path: Path) -> None:
    cased = saved(tmp_path, do_lower_case=False)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    assert same_ids(read_vocabulary(tmp_path), cased)


def other_class(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer"}')


def other_start(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "cls_token": "<s>"}')


def other_separator_of_an_older_file(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    (folder / "special_tokens_map.json").write_text('{"sep_token": {"content": "[unused1]"}}')


def other_splitter(folder: Path) -> None:
    values = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    values["pre_tokenizer"] = {"type": "Whitespace"}
    (folder / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "TokenizersBackend"}')
    assert PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_class, "T5Tokenizer"),
        (other_start, "cls_token is '<s>'"),
        (other_separator_of_an_older_file, "sep_token is .*unused1"),
        (other_splitter, "pre_tokenizer"),
    ],
)
def test_a_tokenizer_that_ours_cannot_follow_is_refused_with_the_reason(
    tmp_path: Path, change: Any, reason: str
) -> None:
    saved(tmp_path)
    change(tmp_path)
    vocabulary = read_vocabulary(tmp_path)
    with pytest.raises(ClueBenchError, match=reason):
        vocabulary.encoder(special_tokens=False)


def test_vocab_txt_and_tokenizer_json_must_agree(tmp_path: Path) -> None:
    saved(tmp_path, vocab_file=True)
    lines = [token.replace("新", "旧") for token in TOKENS]
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ClueBenchError, match=f"differ in 1 token, first id {TOKENS.index('新')}"):
        read_vocabulary(tmp_path)


def test_tokens_that_no_text_gives_make_no_difference(tmp_path: Path) -> None:
    """transformers 5 writes U+2028, a line of Google's vocabulary, as an empty token."""
    tokens = (*TOKENS, "\u2028", "##\u2028")
    stripped = {token: index for index, token in enumerate((*TOKENS, "", "##"))}
    BertTokenizer(vocab=stripped).save_pretrained(tmp_path)
    alone = tmp_path / "alone"
    shutil.copytree(tmp_path, alone)
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    assert read_vocabulary(tmp_path) == Vocabulary(tokens)
    assert read_vocabulary(alone).differing(Vocabulary(tokens)) == []
    assert read_vocabulary(alone).differing(Vocabulary((*tokens[:-3], "新", *tokens[-2:]))) == [len(TOKENS) - 1]


def test_a_gap_between_ids_is_an_error(tmp_path: Path) -> None:
    saved(tmp_path)
    values = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    values["added_tokens"].append({**values["added_tokens"][0], "id": len(TOKENS) + 1, "content": "[E1]"})
    (tmp_path / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ClueBenchError, match=f"no token has id {len(TOKENS)}"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize("change", [{"strip_accents": "no"}, {"do_lower_case": "false"}])
def test_a_switch_that_is_neither_true_nor_false_is_an_error(tmp_path: Path, change: dict[str, str]) -> None:
    changed(tmp_path, change)
    with pytest.raises(ClueBenchError, match=f"{next(iter(change))} is"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize("tokens", [5, [{"content": ["q"]}]])
def test_special_tokens_that_are_no_texts_are_refused(tmp_path: Path, tokens: Any) -> None:
    changed(tmp_path, {"additional_special_tokens": tokens})
    assert "no texts" in read_vocabulary(tmp_path).refusal


def changed(folder: Path, values: dict[str, Any]) -> None:
    """Save a tokenizer whose tokenizer_config.json says something else."""
    saved(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

"""`clue-bench vocab` and `clue-bench corpus`: what they write, print and refuse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clue_bench.cli import main
from clue_bench.vocab import SPECIAL_TOKENS, read_vocabulary


@pytest.fixture
def run(capfd, monkeypatch):
    """Run `clue-bench arguments` in this process; return exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["clue-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        return exited.value.code or 0, *capfd.readouterr()

    return call


def words_of(table: str) -> dict[str, list[str]]:
    """Return the first cell of each row of a printed table, and the others."""
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows if row}


def trained(run, text_file: Path, out: Path, *options) -> dict[str, object]:
    arguments = ["vocab", "train", text_file, "--kind", "sentencepiece", "--out", out, "--json", *options]
    code, printed, said = run(*arguments)
    assert code == 0, said
    return json.loads(printed)


def test_a_sentencepiece_vocabulary_is_trained_and_used(run, text_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "spiece.model"
    facts = trained(run, text_file, out, "--size", 150)
    vocabulary = read_vocabulary(out)
    assert (facts["tokens"], facts["sha256"]) == (len(vocabulary), vocabulary.sha256) == (150, facts["sha256"])
    code, printed, _ = run("corpus", "build", text_file, "--vocab", out, "--out", tmp_path / "corpus")
    assert code == 0
    rows = words_of(printed)
    assert rows["vocabulary"] == [f"sentencepiece, 150 tokens, {vocabulary.sha256[:8]}"]
    assert rows["words are"] == ["every token"]
    assert rows["words"] == rows["tokens"]


def test_a_sample_is_said_aloud(run, text_file: Path, tmp_path: Path) -> None:
    arguments = ["--kind", "sentencepiece", "--size", 150, "--sentences", 80, "--json"]
    code, printed, said = run("vocab", "train", text_file, "--out", tmp_path / "a.model", *arguments)
    assert code == 0
    assert "random sample of 80 sentences" in said
    facts = json.loads(printed)
    assert facts["sentences"] == 80 < facts["sentences in the text"]


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (["--kind", "sentencepiece", "--out", "{}/vocab.txt"], "is a .model file", "--out vocab.model"),
        (["--out", "{}/spiece.model"], "is a .txt file", "--out vocab.txt"),
        (["--out", "{}/vocab.txt", "--sentences", 9], "--sentences is for", "leave it out"),
        (["--kind", "sentencepiece", "--out", "{}/a.model"], "too small for 100,000 pieces", "or less, or more text"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_a_hint(
    run, text_file: Path, tmp_path: Path, options, message: str, hint: str
) -> None:
    code, printed, said = run("vocab", "train", text_file, *(str(option).format(tmp_path) for option in options))
    assert (code, printed) == (1, "")
    error, advice = said.splitlines()[-2:]
    assert message in error
    assert hint in advice
    assert list(tmp_path.iterdir()) == []


def test_stats_are_a_column_for_each_vocabulary(run, vocabulary_file: Path, text_file: Path, tmp_path: Path) -> None:
    trained(run, text_file, tmp_path / "spiece.model", "--size", 150)
    code, printed, _ = run("vocab", "stats", vocabulary_file, tmp_path)
    assert code == 0
    rows, total = words_of(printed), len(read_vocabulary(vocabulary_file))
    assert rows["type"] == ["vocab.txt", tmp_path.name]
    assert rows["total"] == [str(total), "150"]
    assert rows["special tokens"] == ["6", "15"]
    columns = [cells for name, cells in rows.items() if name not in ("type", "total")]
    assert [sum(map(int, column)) for column in zip(*columns, strict=True)] == [
        len(read_vocabulary(vocabulary_file)),
        150,
    ]
    code, printed, _ = run("vocab", "stats", vocabulary_file, "--json")
    (fact,) = json.loads(printed)["vocabularies"]
    assert (fact["kind"], fact["counts"]["special"]) == ("wordpiece", 6)
    assert "published" not in fact


def test_stats_of_known_files_stand_beside_the_published_counts(run, real_data: Path) -> None:
    folder = real_data / "vocab"
    code, printed, _ = run("vocab", "stats", folder / "google_zh_vocab_21128.txt", folder / "clue_vocab_8021.txt")
    assert code == 0
    rows = words_of(printed)
    assert rows["simplified Chinese"] == ["11,378", "11,378", "5,689", "5,689"]
    assert rows["English"] == ["3,557", "3,529", "1,320", "1,320"]
    assert "28 tokens are English here and other in the paper" in printed


def test_pruning_says_what_each_rule_did_and_compares(run, tmp_path: Path) -> None:
    source, other = tmp_path / "large.txt", tmp_path / "other.txt"
    source.write_text("\n".join([*SPECIAL_TOKENS, "中", "國", "##中", "word", "ａ"]), encoding="utf-8")
    other.write_text("\n".join([*SPECIAL_TOKENS, "中", "文"]), encoding="utf-8")
    code, printed, _ = run("vocab", "prune", source, "--out", tmp_path / "small.txt", "--compare", other)
    assert code == 0
    assert read_vocabulary(tmp_path / "small.txt").tokens == (*SPECIAL_TOKENS, "中", "ａ")
    rows = words_of(printed)
    assert rows["traditional Chinese"] == ["-1", "國"]
    assert rows["kept"][0] == "7"
    assert rows["in both"] == ["6 of 7", "in the same order"]
    assert (rows["missing"], rows["extra"]) == (["1", "文"], ["1", "ａ"])
    assert "132 tokens by hand" in printed
    code, printed, _ = run("vocab", "prune", source, "--out", tmp_path / "small.txt", "--compare", other, "--json")
    facts = json.loads(printed)
    assert facts["dropped"]["traditional Chinese"] == ["國"]
    assert facts["compared"] == {"common": 6, "missing": ["文"], "extra": ["ａ"], "same_order": True}


@pytest.mark.parametrize("arguments", [["stats"], ["prune", "--out", "small.txt"]], ids=["stats", "prune"])
@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a\na\n"], ids=["missing", "not UTF-8", "no vocabulary"])
def test_a_bad_vocabulary_is_one_line(run, tmp_path: Path, monkeypatch, arguments, content: bytes | None) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "bad.txt").write_bytes(content)
    code, printed, said = run("vocab", *arguments, "bad.txt")
    assert (code, printed) == (1, "")
    assert [line.split(":")[0] for line in said.splitlines()] == ["error", "hint"]
    assert "bad.txt" in said
    assert not (tmp_path / "small.txt").exists()


def test_a_corpus_with_words_says_so(run, text_file: Path, vocabulary_file: Path, tmp_path: Path) -> None:
    arguments = ["corpus", "build", text_file, "--vocab", vocabulary_file, "--out", tmp_path / "corpus"]
    code, printed, _ = run(*arguments, "--words", "rjieba")
    assert code == 0
    assert words_of(printed)["words are"] == ["cut by rjieba"]
    code, printed, said = run(*arguments)
    assert code == 1
    assert "another words: rjieba" in said
    code, printed, _ = run("corpus", "show", tmp_path / "corpus", "--json")
    facts = json.loads(printed)
    assert (facts["vocabulary_kind"], facts["word_starts"]) == ("wordpiece", "rjieba")


def test_importing_the_command_line_loads_neither_sentencepiece_nor_a_segmenter() -> None:
    heavy = {"torch", "transformers", "pandas", "sentencepiece", "rjieba", "nstoolspack", "regex", "tokenizers"}
    script = f"import sys, clue_bench.cli; print(sorted({heavy!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_what_is_wrong_with_a_corpus_is_said_when_it_is_built(run, tmp_path: Path) -> None:
    text, vocab = tmp_path / "text.txt", tmp_path / "vocab.txt"
    text.write_text("甲乙丙\n\n甲乙丙\n\n丁戊\n", encoding="utf-8")
    vocab.write_text("\n".join([*SPECIAL_TOKENS, *"甲乙丙", "布洛芬"]) + "\n\n", encoding="utf-8")
    code, printed, said = run("corpus", "build", text, "--vocab", vocab, "--out", tmp_path / "corpus", "--workers", 1)
    assert code == 0
    assert "25.00 % of the tokens are [UNK]" in said
    assert "documents that repeat earlier ones: 1 (33.33 %)" in said
    assert "1 word of the vocabulary never occurs" in said
    assert "布洛芬" in said
    assert "blank lines at its end" in said
    assert words_of(printed)["repeated documents"] == ["1"]
    options = ["--drop-repeats", "documents", "--workers", 1]
    code, printed, said = run("corpus", "build", text, "--vocab", vocab, "--out", tmp_path / "less", *options)
    assert words_of(printed)["repeated documents, dropped"] == ["1"]
    assert words_of(printed)["documents"] == ["2"]
    assert "repeat earlier ones" not in said


def test_lost_characters_and_text_without_blank_lines_are_said(run, vocabulary_file: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("今天下\ufffd\ufffd我们。\n" + "明天去。\n" * 1_000, encoding="utf-8")
    options = ["--vocab", vocabulary_file, "--out", tmp_path / "corpus", "--workers", 1]
    code, printed, said = run("corpus", "build", text, *options)
    assert code == 0
    assert "2 characters were lost before" in said
    assert "all 1,001 sentences are one document" in said
    assert words_of(printed)["lost characters"] == ["2"]


def test_training_texts_become_a_corpus(run, vocabulary_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "afqmc"
    folder.mkdir()
    rows = [("花呗怎么还", "花呗如何\n还款"), ("花呗怎么还", "借呗在哪"), ("借呗在哪", "花呗怎么还")]
    lines = [json.dumps({"sentence1": a, "sentence2": b, "label": "0"}, ensure_ascii=False) for a, b in rows]
    (folder / "train.json").write_text("\n".join(lines), encoding="utf-8")
    for unread in ("dev.json", "test.json"):
        (folder / unread).write_bytes(b"\xff not read")
    file = tmp_path / "afqmc-train.txt"
    code, printed, said = run("corpus", "texts", "--task", "afqmc", "--data", tmp_path, "--out", file, "--json")
    assert code == 0, said
    assert json.loads(printed) == {"file": str(file), "rows": {"afqmc": 3}, "texts": {"afqmc": 3}}
    assert file.read_text(encoding="utf-8") == "花呗怎么还\n花呗如何 还款\n\n借呗在哪\n"
    code, printed, _ = run("corpus", "build", file, "--vocab", vocabulary_file, "--out", tmp_path / "corpus")
    assert (code, words_of(printed)["documents"]) == (0, ["2"])
    code, _, said = run("corpus", "texts", "--task", "afqmc", "--data", tmp_path, "--out", file)
    assert (code, "exists already" in said) == (1, True)

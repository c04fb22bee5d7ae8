"""Documents and paragraphs that repeat earlier ones: counted always, left out if asked, and lines for later checks."""

from pathlib import Path

import numpy as np
import pytest

from clue_bench.corpus import build
from clue_bench.corpus.build import build_corpus
from clue_bench.corpus.repeats import Seen
from clue_bench.corpus.sample import SIZE, Sample
from clue_bench.doors.shards import Corpus, Repeats
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import SPECIAL_TOKENS

FIRST, SECOND, THIRD = ["甲乙", "丙丁"], ["丙 丁", "戊己"], ["戊己", "甲乙"]
VOCAB = [*SPECIAL_TOKENS, *"甲乙丙丁戊己"]


def built(folder: Path, documents: list[list[str]], *, drop: str | None = None, workers: int = 1) -> Corpus:
    (folder / "text.txt").write_text("\n\n".join("\n".join(lines) for lines in documents), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(VOCAB), encoding="utf-8")
    out = folder / f"corpus-{drop}"
    for _ in build_corpus(
        [folder / "text.txt"], vocabulary=folder / "vocab.txt", out=out, workers=workers, drop_repeats=drop
    ):
        pass
    return Corpus.open(out)


def text(corpus: Corpus) -> str:
    return "".join(VOCAB[index] for ids in corpus.ids for index in ids)


@pytest.mark.parametrize("unit", [6, 20, 10_000])
@pytest.mark.parametrize(
    ("drop", "left", "dropped"),
    [
        (None, "甲乙丙丁丙丁戊己甲乙丙丁戊己甲乙丙丁戊己", 0),
        ("documents", "甲乙丙丁丙丁戊己戊己甲乙", 2),
        ("paragraphs", "甲乙丙丁戊己", 3),
    ],
)
def test_repeats_are_counted_and_dropped_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: int, drop: str | None, left: str, dropped: int
) -> None:
    monkeypatch.setattr(build, "UNIT_CHARACTERS", unit)
    corpus = built(tmp_path, [FIRST, SECOND, FIRST, THIRD, SECOND], drop=drop)
    assert text(corpus) == left
    expected = Repeats(documents=2, paragraphs=7, dropped=drop, dropped_documents=dropped)
    assert corpus.manifest.repeats == expected


def test_a_folder_is_not_continued_with_other_repeats(tmp_path: Path) -> None:
    corpus = built(tmp_path, [FIRST, FIRST])
    (corpus.folder / "manifest.json").unlink()
    corpus.folder.rename(tmp_path / "corpus-documents")
    with pytest.raises(ClueBenchError, match="another drop_repeats"):
        built(tmp_path, [FIRST, FIRST], drop="documents")


def test_what_was_met_is_met_again_in_any_order() -> None:
    draw, seen, known = np.random.default_rng(0), Seen(), set()
    for _ in range(30):
        hashes = draw.integers(0, 500, size=draw.integers(0, 60))
        expected = []
        for one in hashes.tolist():
            expected.append(one in known)
            known.add(one)
        assert seen.mark(hashes).tolist() == expected


@pytest.mark.parametrize("number", [1, 999, 1_999, 2_000, 30_000])
def test_the_kept_lines_lie_at_equal_distances(number: int) -> None:
    lines, sample = [f"{line}" for line in range(number)], Sample()
    for start in range(0, number, 700):
        sample.add("\n".join([*lines[start : start + 700], "", ""]).encode())
    distances = set(np.diff([int(line) for line in sample.lines]).tolist())
    assert sample.lines[0] == "0"
    assert len(distances) <= 1
    assert min(number, SIZE) <= len(sample.lines) < 2 * SIZE


def test_a_corpus_keeps_lines_of_its_text(tmp_path: Path) -> None:
    assert built(tmp_path, [FIRST, [" 丙\u3000 丁 "]]).sample == ["甲乙", "丙丁", "丙 丁"]

"""The pipeline of docs/large-corpora.md, as it stands there, and a corpus of what datatrove writes."""

import gzip
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clue_bench import build_corpus

PAGE = (Path(__file__).parents[2] / "docs" / "large-corpora.md").read_text(encoding="utf-8")


def test_shards_of_datatrove_are_a_corpus_of_their_texts(tmp_path, vocabulary_file):
    (tmp_path / "clean").mkdir()
    for rank, text in enumerate(("的一是在。\n不了有和。", "人这中大。")):
        line = {"text": text, "id": f"a/{rank}", "metadata": {"file_path": "a.txt"}, "media": []}
        with gzip.open(tmp_path / "clean" / f"{rank:05d}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    built = build_corpus(tmp_path / "clean", vocabulary=vocabulary_file, out=tmp_path / "corpus", progress=False)
    counts = built.corpus.manifest.counts
    assert (counts.documents, counts.unknown_tokens) == (2, 0)


@pytest.mark.slow
def test_the_pages_pipeline_filters_and_drops_near_duplicates(tmp_path, vocabulary_file):
    pytest.importorskip("datatrove", reason="pip install 'clue-bench[datatrove]'")
    draw = random.Random(0)
    characters = [chr(0x4E00 + number) for number in range(500)]
    texts = ["".join(draw.choices(characters, k=400)) for _ in range(1000)]
    near = ["".join(each for each in text if draw.random() > 0.01) for text in texts[:100]]
    repeated = "\n".join(["的一是在不了有和人这。"] * 20)
    (tmp_path / "texts").mkdir()
    for name, some in (
        ("a", [*texts, "short 短", repeated]),
        ("b", [*near, "no Chinese text at all, but long enough"]),
    ):
        (tmp_path / "texts" / f"{name}.txt").write_text("\n\n".join(some) + "\n", encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    (tmp_path / "clean.py").write_text(block, encoding="utf-8")
    command = [sys.executable, "clean.py", "texts", "work", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = build_corpus(
        tmp_path / "work" / "clean", vocabulary=vocabulary_file, out=tmp_path / "corpus", progress=False
    )
    assert 1000 <= built.corpus.manifest.counts.documents <= 1005  # of the near ones some are not found

"""One budget, one text, one vocabulary: what OUT holds is of them, or refused."""

import sys
from pathlib import Path

import pytest

from clue_bench.errors import ClueBenchError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import equal_budget


def test_every_hundredth_document_is_kept_out(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"第{n}篇\n第二行" for n in range(250)) + "\n", encoding="utf-8")
    train, held_out = equal_budget.split_text(text, tmp_path)
    kept = held_out.read_text(encoding="utf-8").split("\n\n")
    assert [each for each in kept if each] == [f"第{n}篇\n第二行" for n in (0, 100, 200)]
    assert len([each for each in train.read_text(encoding="utf-8").split("\n\n") if each]) == 247


@pytest.mark.parametrize("changed", ["text", "vocab", "recipes"])
def test_a_folder_with_runs_of_something_else_is_refused(tmp_path, monkeypatch, changed):
    files = {name: tmp_path / f"{name}.txt" for name in ("text", "vocab")}
    for path in files.values():
        path.write_text("甲", encoding="utf-8")
    equal_budget.refuse_another(tmp_path, **files)
    equal_budget.refuse_another(tmp_path, **files)
    if changed == "recipes":
        recipe, settings = equal_budget.RECIPES["own"]
        monkeypatch.setitem(equal_budget.RECIPES, "own", (recipe, {**settings, "learning_rate": 5e-4}))
    else:
        files[changed].write_text("乙", encoding="utf-8")
    with pytest.raises(ClueBenchError, match=f"other {changed}"):
        equal_budget.refuse_another(tmp_path, **files)

"""The same verb with the same seed on the same machine makes the same record, but for times and memory."""

import crashes
import pytest
from samples import card_text

import clue_bench as cb

ROWS = [{"text": f"{'的一是在'[number % 4 :]}{number}", "label": "好坏"[number % 2]} for number in range(40)]
OWN = {"data": ROWS, "text": "text", "label": "label", "progress": False}


@pytest.fixture
def again(tmp_path, recipe_file, corpus_folder, checkpoint_folder):
    """What runs a verb in a folder that is called the same each time, and returns all that it leaves there."""
    options = {"steps": 4, "tracker": "none", "progress": False}
    verbs = {
        "pretrain": lambda out: cb.pretrain(str(recipe_file), corpus=corpus_folder, out=out, **options),
        "finetune": lambda out: cb.finetune("own", checkpoint_folder, out=out, steps=4, seed=3, **OWN),
        "floor": lambda out: cb.floor(["own"], out=out, **OWN),
    }

    def again(verb, number):
        out = tmp_path / str(number) / "run"
        verbs[verb](out)
        files = [path for path in out.rglob("*") if path.is_file() and path.name != ".lock"]
        return {str(path.relative_to(out)): crashes.contents(path) for path in files}

    return again


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "floor"])
def test_the_same_again_leaves_the_same(verb, again):
    first, second = again(verb, 1), again(verb, 2)
    assert any(name.endswith(".record.json") for name in first)
    assert first == second


def test_the_same_predictions_have_the_same_score(tmp_path):
    lines = "".join(f'{{"id": {n}, "label": "{"ab"[n % 2]}"}}\n' for n in range(40))
    (tmp_path / "predictions.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "own").mkdir()
    rows = "".join(f'{{"text": "一{n}", "label": "{"ab"[n % 3 // 2]}"}}\n' for n in range(40))
    for split in ("train", "dev"):
        (tmp_path / "own" / f"{split}.jsonl").write_text(rows, encoding="utf-8")
    (tmp_path / "own.toml").write_text(card_text("own", rows=40), encoding="utf-8")
    one, other = (
        cb.score(tmp_path / "predictions.jsonl", task=str(tmp_path / "own.toml"), data=tmp_path).to_json()
        for _ in range(2)
    )
    assert one == other

"""Two pretraining runs side by side: their curves, tokens, seconds and held-out losses."""

import json
import re
import sys

import pytest

from clue_bench.analysis.pretraining_runs import compare_pretraining, render
from clue_bench.api.boards import compare
from clue_bench.cli import main
from clue_bench.doors.records import DataFacts, ModelFacts, PretrainRecord, write_record
from clue_bench.errors import ClueBenchError
from clue_bench.layout import text_width


def report(step, loss, held_out=None):
    return {"step": step, "loss": loss, "held_out_loss": held_out, "tokens": 1000 * step, "seconds": 2.0 * step}


def write_run(folder, reports, *, vocabulary="v", status="completed", **settings):
    """Write a run of pretraining with these reports; without a file of reports the record has the curve."""
    last = reports[-1]
    curve = {"tokens": [r["tokens"] for r in reports], "loss": [r["loss"] for r in reports]}
    curve["held_out_loss"] = [r["held_out_loss"] for r in reports]
    rates = dict.fromkeys(("learning_rate", "gradient_norm", "tokens_per_second", "model_flops_per_second"), 1.0)
    totals = {"step": last["step"], "tokens": last["tokens"], "seconds": last["seconds"], "loss": last["loss"]}
    results = {**rates, **totals, "epochs": 1.0, "mean_tokens_per_second": 500.0, "peak_memory_mib": 1, "curve": curve}
    record = PretrainRecord(
        run_id=f"pretrain-{folder.name}",
        status=status,
        started_at="2026-01-01T00:00:00Z",
        asked={},
        effective={"objective": "mlm", "stage1": {"learning_rate": 1e-3}, **settings},
        seed=1,
        data=DataFacts(name="corpus", revision="1", corpus_sha256="c", vocabulary_sha256=vocabulary),
        model=ModelFacts(name="tiny", parameters=7_450_000, sha256="a" * 64, layers=4, hidden_size=312),
        code={},
        packages={},
        hardware={},
        results=results if status == "completed" else {},
    )
    write_record(folder, record)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in reports), encoding="utf-8")
    return folder


SLOW = [report(10, 8.0, 7.5), report(20, 6.0, 5.5), report(30, 5.0, 4.5)]
FAST = [report(10, 7.0, 6.5), report(20, 4.0, 3.5)]


@pytest.fixture
def folders(tmp_path):
    fast = write_run(tmp_path / "fast", FAST, stage1={"learning_rate": 2e-3})
    return [write_run(tmp_path / "slow", SLOW), fast]


def test_runs_are_compared_at_their_end_and_after_equally_many_tokens(folders):
    found = compare_pretraining(folders)
    values = found.to_json()
    assert values["shared_tokens"] == 20_000
    assert [run["held_out_loss_at_shared_tokens"] for run in values["runs"]] == [5.5, 3.5]
    assert [run["held_out_loss"] for run in values["runs"]] == [4.5, 3.5]
    assert [run["seconds"] for run in values["runs"]] == [60.0, 40.0]
    assert "after 20 k tokens B" in found.verdict
    text = found.in_full(80)
    assert max(map(text_width, text.splitlines())) <= 80
    assert "30,000" in text
    assert re.search(r"stage1\.learning_rate +0\.001 +0\.002", text)
    assert found.notes == []


def test_between_two_evaluations_the_held_out_loss_is_linear(folders):
    slow = compare_pretraining(folders).runs[0]
    assert slow.held_out_at(15_000) == 6.5
    assert slow.held_out_at(31_000) is None


def test_the_page_lays_the_curves_over_each_other_and_over_time(folders):
    page = render(compare_pretraining(folders))
    assert page.count("<svg") == 2
    assert page.count('class="line one"') >= 2  # in the charts and their legends
    assert page.count('class="line two"') >= 2
    assert ">A slow<" in page
    assert "minutes of training" not in page
    assert "seconds of training" in page
    assert page == render(compare_pretraining(folders))


def test_losses_over_different_vocabularies_are_said_not_to_compare(tmp_path):
    a, b = write_run(tmp_path / "a", SLOW), write_run(tmp_path / "b", FAST, vocabulary="other")
    (note,) = compare_pretraining([a, b]).notes
    assert "vocabularies" in note


def test_an_unfinished_run_has_its_curve_so_far_and_a_record_alone_its_own(tmp_path):
    killed, published = write_run(tmp_path / "a", FAST, status="interrupted"), write_run(tmp_path / "b", SLOW)
    with (killed / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 30, "lo')
    (published / "metrics.jsonl").unlink()
    found = compare_pretraining([killed, published])
    assert found.notes == ["A is interrupted: its curve so far."]
    assert [run.last.tokens for run in found.runs] == [20_000, 30_000]
    assert found.runs[1].last.seconds is None
    assert render(found).count("<svg") == 1  # no times, no curve over time


def test_the_command_writes_the_page_into_the_first_run_or_where_it_is_told(folders, tmp_path, capfd, monkeypatch):
    for more, page in ([], folders[0] / "compared-with-fast.html"), (["--out", "x.html"], tmp_path / "x.html"):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["clue-bench", "compare", *map(str, folders), "--json", *more])
        with pytest.raises(SystemExit) as exited:
            main()
        assert not exited.value.code
        assert (tmp_path / json.loads(capfd.readouterr().out)["page"]) == page
        assert page.is_file()


def test_a_pretraining_run_is_not_compared_with_another_kind(folders, make_run):
    with pytest.raises(ClueBenchError, match="different kinds"):
        compare(folders[0], make_run(["108"] * 6))
    with pytest.raises(ClueBenchError, match="2 to 5"):
        compare_pretraining(folders * 3)


def test_only_pretraining_runs_have_curves_to_draw(make_run, tmp_path):
    runs = make_run(["108"] * 6, name="a"), make_run(["109"] * 6, name="b")
    with pytest.raises(ClueBenchError, match="--out"):
        compare(*runs, out=tmp_path / "x.html")

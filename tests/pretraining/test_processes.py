"""Several processes make the run that one makes: losses, files, output, and continuing with another number."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clue_bench.corpus.pairs import LabelledPair, build_pairs
from clue_bench.doors.records import read_records
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.pretraining.processes import Processes
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import run
from clue_bench.pretraining.train import Pretraining

SCRIPT = Path(__file__).with_name("run_under_torchrun.py")
GPT2 = {"family": "gpt2", "objective": "clm", "mask_rate": 0.0, "activation": "gelu_tanh"}
# Ten rows are five for each of two processes, in micro-batches of three and two; seven rows are three and four.
CASES = {
    "mlm": {"global_batch": 10, "micro_batch": 3},
    "mlm, odd batch": {"global_batch": 7, "micro_batch": 2, "bias_correction": False},
    "clm": {**GPT2, "global_batch": 10, "micro_batch": 3},
    "texts": {"sentence_order": "texts", "global_batch": 10, "micro_batch": 3},
    "sentences, labelled pairs": {"sentence_order": "sentences", "labelled_share": 0.3, "micro_batch": 3},
    "albert": {"family": "albert", "embedding_size": 16, "tied_head": False, "micro_batch": 3},
    "roformer, whole words": {"family": "roformer", "objective": "wwm", "sentence_order": "texts", "micro_batch": 4},
    "fewer and fewer masks": {"mask_rate": 0.4, "final_mask_rate": 0.1, "global_batch": 10, "micro_batch": 3},
    "recorded": {"global_batch": 10, "micro_batch": 3},
    "recorded, fewer and fewer masks": {"mask_rate": 0.4, "final_mask_rate": 0.1, "global_batch": 7, "micro_batch": 3},
    "recorded, copies": {"precision": "bf16", "global_batch": 10, "micro_batch": 3},
    "short of memory": {"global_batch": 10, "micro_batch": "auto", "dropout": 0.1},
    "short of memory, recorded, copies": {"precision": "bf16", "global_batch": 10, "micro_batch": "auto"},
}
SHORT = [5]  # the second part of the third step

CLI = "from clue_bench.cli import main; main()"
SOME = {"sentence_order": "texts", "global_batch": 7, "micro_batch": 3}


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


@pytest.fixture
def case(two_stage_file, corpus_folder, words_folder, folder):
    def case(out="out", **overrides):
        words = overrides.get("objective") == "wwm"
        return {
            "recipe": str(two_stage_file),
            "overrides": overrides,
            "corpus": str(words_folder if words else corpus_folder),
            "out": str(folder / out),
        }

    return case


def prepare(case) -> Pretraining:
    pairs = Corpus.open(Path(case["pairs"])) if case.get("pairs") else None
    recipe = load_recipe(case["recipe"], case["overrides"])
    return Pretraining(recipe, Corpus.open(Path(case["corpus"])), Path(case["out"]), pairs=pairs)


@pytest.fixture(scope="module")
def labelled_pairs(folder, text_file, vocabulary_file):
    """Pairs of short sentences, labelled by turns."""
    lines = [line[:9] for line in text_file.read_text(encoding="utf-8").split()]
    pairs = [LabelledPair(*two, label=n % 2) for n, two in enumerate(itertools.pairwise(lines))]
    build_pairs(
        pairs, task="made", classes=["0", "1"], evaluated_on=[], vocabulary=vocabulary_file, out=folder / "pairs"
    )
    return folder / "pairs"


@pytest.fixture
def of_two(folder, case, labelled_pairs):
    """Every case's reports by two processes, and the cases. Then the second is asked to stop another run after step 8,
    which it does between two reports, and both are killed at the report of step 10 of a third.

    All in one start of torchrun, which takes longer than the runs.
    """
    cases = {name: case(f"two {name}", **overrides) for name, overrides in CASES.items()}
    cases["sentences, labelled pairs"]["pairs"] = str(labelled_pairs)
    for name, each in cases.items():
        each |= {"recorded": "recorded" in name, "copies": "copies" in name, "short": SHORT if "short" in name else []}
    cases["no room"] = {**case(global_batch=10, micro_batch="auto"), "short": list(range(99))}
    cases["too many processes"] = case(global_batch=1, micro_batch=1)
    results = folder / "results.json"
    if not results.is_file():
        for name, value in (("cases", cases), ("stopped", case("stopped", **SOME)), ("killed", case("killed", **SOME))):
            (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
        done = torchrun(SCRIPT, folder / "cases.json", results, folder / "stopped.json", folder / "killed.json", 10)
        assert "SIGKILL" in done.stderr, done.stderr
    return json.loads(results.read_text(encoding="utf-8")), cases


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_losses_of_one(of_two, name):
    two, cases = of_two
    case = cases[name]
    rounded = 1e-2 if case.get("copies") else 1e-5  # of what the gradient is exchanged in
    reports = list(prepare({**case, "overrides": {**case["overrides"], "precision": "fp32"}}).reports())
    assert len(reports) == 8
    taken = two[name].pop("micro_batch")
    assert taken == ([3, 1, 1, 1, 5, 5, 5, 5] if "short" in name else [CASES[name].get("micro_batch")] * 8)
    for key, values in two[name].items():
        expected = [getattr(report, key) for report in reports]
        if all(value is None for value in expected):
            assert values == expected
        elif key == "held_out_loss":
            assert values == [None if e is None else pytest.approx(e, abs=rounded) for e in expected]
        elif key == "lm_accuracy" and case.get("copies"):
            assert len(values) == len(expected)  # ties count as wrong, and there are many in bf16
        else:
            assert values == pytest.approx(expected, abs=10 * rounded if key == "gradient_norm" else rounded), key


@pytest.mark.slow
def test_memory_that_does_not_suffice_for_one_row_of_one_process_ends_them_all(of_two):
    assert of_two[0]["no room"]["error"] == "out of memory at step 1"


@pytest.mark.slow
def test_more_processes_than_rows_is_an_error(of_two):
    assert of_two[0]["too many processes"]["error"] == "2 processes for 1 row a step"
    with pytest.raises(ClueBenchError, match="3 processes for 2 rows"):
        Processes(rank=0, size=3).share(2)


@pytest.mark.parametrize(("num", "size"), [(8, 2), (7, 2), (3, 3), (10, 4)])
def test_shares_are_consecutive_complete_and_even(num, size):
    shares = [Processes(rank=rank, size=size).share(num) for rank in range(size)]
    assert [at for share in shares for at in range(num)[share]] == list(range(num))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("name", CASES)
def test_the_rows_and_dropout_keys_of_all_processes_are_those_of_one(case, labelled_pairs, name):
    described = case(**CASES[name])
    described["pairs"] = str(labelled_pairs) if "pairs" in name else None
    feeds = prepare(described).feeds
    total = feeds.stage.global_batch
    batch, keys = feeds.assemble(feeds.inputs(5, slice(0, total)))
    for size in (2, 3):
        shares = [Processes(rank=rank, size=size).share(total) for rank in range(size)]
        parts = [feeds.assemble(feeds.inputs(5, share)) for share in shares]
        assert torch.equal(torch.cat([keys for _, keys in parts]), keys)
        for share, (part, _) in zip(shares, parts, strict=True):
            for mine, whole in zip(part, batch.part(share), strict=True):
                assert (mine is None) == (whole is None)
                if isinstance(mine, tuple):
                    assert all(map(torch.equal, mine, whole))
                else:
                    assert mine is None or torch.equal(mine, whole)


def metrics(out):
    lines = (Path(out) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["step"]: line for line in map(json.loads, lines)}


def assert_same_run(found, expected, *, exactly_until=0):
    found, expected = metrics(found), metrics(expected)
    assert list(found) == list(expected)
    for step, line in found.items():
        tolerance = 0 if step <= exactly_until else 1e-5
        for key in ("loss", "lm_loss", "sop_loss", "held_out_loss", "useful_share"):
            assert line[key] == pytest.approx(expected[step][key], abs=tolerance), (step, key)
        for key in ("stage", "learning_rate", "tokens"):
            assert line[key] == expected[step][key]


@pytest.fixture
def whole(case, folder):
    """Where one process made the whole run that the next tests break off."""
    if not (folder / "whole" / "checkpoint").exists():
        list(run(prepare(case("whole", **SOME)), asked={}))
    return folder / "whole"


@pytest.mark.slow
def test_a_run_begun_with_one_process_continues_with_two_who_write_once_and_speak_once(case, whole, tmp_path):
    begun = {**case(**SOME), "out": str(tmp_path / "run")}
    reports = run(prepare(begun), asked={})
    while next(reports).step < 6:
        pass
    reports.close()
    settings = [f"--set={key}={json.dumps(value)}" for key, value in SOME.items()]
    arguments = ["pretrain", begun["recipe"], "--corpus", begun["corpus"], "--out", begun["out"], "--json", *settings]
    done = torchrun("--no-python", sys.executable, "-c", CLI, *arguments)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)  # one object: the second process prints nothing
    assert record["status"] == "completed"
    assert record["effective"]["processes"] == 2
    assert_same_run(begun["out"], whole, exactly_until=4)
    names = {path.name for path in Path(begun["out"]).iterdir()}
    assert names - {"tensorboard"} == {path.name for path in whole.iterdir()}
    assert len(list(Path(begun["out"]).glob("tensorboard/*"))) <= 1
    assert len(list(read_records(Path(begun["out"])))) == 1


@pytest.mark.slow
def test_a_run_of_two_processes_that_were_killed_continues_with_one(case, of_two, whole):
    killed = case("killed", **SOME)
    assert list(metrics(killed["out"]))[-1] == 10
    assert [record.status for record in read_records(Path(killed["out"]))] == ["interrupted"]
    list(run(prepare(killed), asked={}))
    assert_same_run(killed["out"], whole)


@pytest.mark.slow
def test_two_processes_stop_after_the_same_step_between_two_reports_and_one_continues(case, of_two, whole):
    stopped = case("stopped", **SOME)
    assert of_two[0]["stopped"]["message"] == "pretrain test: stopped and saved at step 9 of 16"
    continued = prepare(stopped)
    continued.resume()
    assert (continued.step, continued.since.steps) == (9, 1)
    list(run(prepare(stopped), asked={}))
    assert_same_run(stopped["out"], whole)

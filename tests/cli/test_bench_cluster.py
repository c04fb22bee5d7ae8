"""`clue-bench bench --engine ray`: the runs are done on a cluster, and one whose worker dies goes on elsewhere."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clue_bench.api.bench_cluster import _run_command
from clue_bench.api.bench_commands import plan_bench
from clue_bench.api.benchmark import run_benchmark
from clue_bench.doors.records import read_record
from clue_bench.errors import ClueBenchError

FAST = {"batch_size": 16, "precision": "fp32", "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """AFQMC of the smallest size; a label is whether the second question holds the character 不."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "afqmc").mkdir()
    for split, count in (("train", 120), ("dev", 50)):
        rows = [
            {"sentence1": "的一是在了", "sentence2": "有和人"[: 1 + n % 3] + "不" * (n % 2), "label": str(n % 2)}
            for n in range(count)
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "afqmc" / f"{split}.json").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("alone", [{"untrained": True}, {"intermediate": "ocnli"}])
def test_runs_that_no_command_does_are_refused_on_a_cluster(data, checkpoint_folder, tmp_path, alone):
    with pytest.raises(ClueBenchError, match="no command does such"):
        run_benchmark(checkpoint_folder, "afqmc", data=data, out=tmp_path, engine="ray", progress=False, **alone)


def test_an_engine_that_is_none_is_refused(data, checkpoint_folder, tmp_path):
    with pytest.raises(ClueBenchError, match="expected local, ray"):
        run_benchmark(checkpoint_folder, "afqmc", data=data, out=tmp_path, engine="dask", progress=False)


def test_a_planned_run_of_a_narrow_model_takes_a_share_of_a_gpu(data, checkpoint_folder, tmp_path):
    plan = plan_bench(checkpoint_folder, "afqmc", data=data, out=tmp_path, seeds=1, steps=3, progress=False)
    assert [run.gpus for run in plan.missing] == [0.25]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [("clue-bench tasks list --json", 0, "it said nothing"), ("clue-bench tasks show nothing", 1, "nothing")],
)
def test_a_worker_types_the_command_and_tells_what_it_said_last(tmp_path, command, code, words):
    ended = _run_command(command, str(tmp_path))
    assert (ended.code, words in ended.words) == (code, True)


@pytest.mark.slow
def test_without_a_cluster_the_error_says_how_to_start_one(data, checkpoint_folder, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="pip install 'clue-bench[ray]'")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # knows of no cluster
    with pytest.raises(ClueBenchError, match="no Ray cluster"):
        run_benchmark(checkpoint_folder, "afqmc", data=data, out=tmp_path, engine="ray", progress=False)


@pytest.fixture
def cluster(monkeypatch):
    """A Ray cluster of two nodes with a core each; yields its address."""
    pytest.importorskip("ray", reason="pip install 'clue-bench[ray]'")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # by default workers leave the cores to everybody else
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    found = Cluster()
    for node in range(2):
        for tries in range(4):
            try:
                found.add_node(**small, wait=node == 1)
                break
            except Exception as error:  # Ray gives a node 30 s, on a busy machine too
                if tries == 3 or "timed out during startup" not in str(error):
                    raise
    yield found.address
    found.shutdown()


def parents():
    """Every process's number → its parent's and its words."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            found[int(folder.name)] = parent, (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends a command with its worker")
def test_a_run_whose_worker_is_killed_goes_on_and_all_equal_those_of_one_machine(
    cluster, data, checkpoint_folder, tmp_path
):
    typed = [sys.executable, "-m", "clue_bench", "bench", "--model", checkpoint_folder, "--task", "afqmc"]
    typed += ["--data", data, "--seeds", 2, "--steps", 600, "--no-floor", "--json", "--out", tmp_path / "cluster"]
    typed += [word for key, value in FAST.items() for word in ("--set", f"{key}={value}")]
    environment = {**os.environ, "RAY_ADDRESS": cluster, "OMP_NUM_THREADS": "1"}
    command = [*map(str, typed), "--engine", "ray"]
    killed = None
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while killed is None and process.poll() is None:
            for record in (tmp_path / "cluster").glob("*/*.record.json"):  # says "interrupted" from the first step on
                found = parents()
                for worker, words in found.values():
                    if str(record.parent) in words and killed is None:
                        killed = found[worker][1]
                        os.kill(worker, signal.SIGKILL)
            time.sleep(0.05)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "ray::_run_command" in killed
    assert "2 runs on the Ray cluster of 2 machines" in err
    alone = run_benchmark(
        checkpoint_folder, "afqmc", data=data, out=tmp_path / "alone", seeds=2, steps=600, settings=FAST, floor=False,
        progress=False,
    )  # fmt: skip
    assert out.startswith("{"), out
    assert len(json.loads(out)["rows"]) == len(alone.outcomes) == 1
    for path in sorted((tmp_path / "alone").glob("*/*.record.json")):
        one, other = read_record(path), read_record(tmp_path / "cluster" / path.parent.name / path.name)
        assert other.status == "completed"
        assert other.results.dev == one.results.dev
        assert (one.model, one.results.evaluations) == (other.model, other.results.evaluations)

"""The job files of docs/several-gpus.md, as they stand there: with two processes for eight, and stand-ins for Slurm."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clue_bench.doors.records import read_records

PAGE = (Path(__file__).parents[2] / "docs" / "several-gpus.md").read_text(encoding="utf-8")
PROGRAMS = {
    "clue-bench": f'exec {sys.executable} -m clue_bench "$@"',
    "torchrun": f'exec {sys.executable} -m torch.distributed.run "$@"',
    "srun": 'exec "$@"',
    "scontrol": "echo localhost",
    "sbatch": "exit 0",
}
SETTINGS = "--set=sentence_order=texts --set=global_batch=8 --set=micro_batch=2 --set=log_every=1 --steps=200"
FAST = "--steps 3 --set batch_size=16 --set precision=fp32"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="job files are for Linux")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus_folder, checkpoint_folder):
    """A folder with what the page's commands name: words, runs/base, clue; and the programs that they call."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "words").symlink_to(corpus_folder)
    (folder / "runs").mkdir()
    (folder / "bin").mkdir()
    for name, line in PROGRAMS.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{line}\n", encoding="utf-8")
        (folder / "bin" / name).chmod(0o755)
    shutil.copytree(checkpoint_folder, folder / "model")
    (folder / "clue" / "afqmc").mkdir(parents=True)
    for split, count in (("train", 64), ("dev", 20)):
        rows = [
            {"sentence1": "的一是在了", "sentence2": "有和人" + "不" * (n % 2), "label": str(n % 2)}
            for n in range(count)
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "clue" / "afqmc" / f"{split}.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def job(folder, two_stage_file):
    """Return a block of the page that holds some words, and what starts it; of models the smallest ones."""

    def block(*words):
        (found,) = [
            each for each in re.findall(r"^```\w+\n(.*?)^```", PAGE, re.M | re.S) if all(w in each for w in words)
        ]
        found = re.sub(r"^\$ ", "", found, flags=re.M)
        found = found.replace("roberta-word-base", f"{two_stage_file} {SETTINGS}").replace(
            "bench --model runs/base", f"bench --model model {FAST} --seeds 2"
        )
        return found.replace("nproc_per_node 8", "nproc_per_node 2").replace("in 0 1 2 3 4 5 6 7", "in 0 1")

    def start(script, **variables):
        path = f"{folder / 'bin'}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **variables}
        return subprocess.Popen(
            ["bash", "-ec", script], cwd=folder, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(script, **variables):
        process = start(script, **variables)
        out, _ = process.communicate(timeout=800)
        assert process.returncode == 0, out
        return out

    run.block, run.start = block, start
    return run


def with_children(pid):
    """A process and all that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *(each for child in children for each in with_children(int(child)))]


def losses(out):
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["step"]: line["loss"] for line in map(json.loads, lines)}


@pytest.fixture
def whole(job, folder):
    """The losses of the run that one process makes."""
    if not (folder / "runs" / "whole").exists():
        job(
            job.block("--nproc_per_node 8 --no-python clue-bench pretrain")
            .replace("nproc_per_node 2", "nproc_per_node 1")
            .replace("runs/base", "runs/whole")
        )
    return losses(folder / "runs" / "whole")


def test_a_run_of_four_processes_that_are_killed_goes_on_with_two(job, folder, whole):
    command = job.block("--nproc_per_node 8 --no-python clue-bench pretrain").replace("runs/base", "runs/killed")
    out = folder / "runs" / "killed"
    process = job.start(command.replace("nproc_per_node 2", "nproc_per_node 4"))
    while process.poll() is None and (not (out / "metrics.jsonl").is_file() or max(losses(out), default=0) < 6):
        time.sleep(0.05)
    for pid in with_children(process.pid):  # torchrun's processes are no group
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert 6 <= max(losses(out)) < 200
    job(command)
    assert losses(out) == pytest.approx(whole, abs=1e-5)
    (record,) = read_records(out)
    assert (record.status, record.effective["processes"]) == ("completed", 2)


def test_two_machines_share_a_run(job, folder, whole):
    command = (
        job.block("--master_addr first-machine")
        .replace("nnodes 4", "nnodes 2")
        .replace("nproc_per_node 2", "nproc_per_node 1")
    )
    command = command.replace("first-machine", "localhost").replace("29500", "29517").replace("runs/base", "runs/two")
    processes = [job.start(command, RANK=rank) for rank in "01"]
    outs = [process.communicate(timeout=800)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outs
    assert losses(folder / "runs" / "two") == pytest.approx(whole, abs=1e-5)


def test_the_job_file_for_pretraining_runs(job, folder, whole):
    slurm = {"SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "localhost"}
    job(job.block("#SBATCH --nodes=4").replace("29500", "29518").replace("runs/base", "runs/slurm"), **slurm)
    assert losses(folder / "runs" / "slurm") == pytest.approx(whole, abs=1e-5)


def test_an_array_does_the_runs_of_a_plan_and_one_process_per_gpu_finds_them(job, folder):
    job(job.block("--plan > runs.txt"))
    assert len((folder / "runs.txt").read_text(encoding="utf-8").splitlines()) == 2
    for number in "12":
        job(job.block("SLURM_ARRAY_TASK_ID"), SLURM_ARRAY_TASK_ID=number)
    assert [record.status for record in read_records(folder / "runs" / "bench")] == ["completed"] * 2
    assert job(job.block("for gpu in")).count("2 complete already") == 2
    assert "2 complete already" in job(job.block("#SBATCH --ntasks=16"))

"""`clue-bench convert` prints what was kept and dropped, and its errors are one line."""

import json
import subprocess
import sys

import pytest

SCRIPT = "import sys; from clue_bench.cli import main; main()"


@pytest.fixture
def command(uer, tmp_path):
    checkpoint = uer("bert-mlm")
    options = ["--from", "uer", "--config", checkpoint.config_file, "--vocab", checkpoint.vocabulary]

    def run(*more, weights=checkpoint.weights, out=tmp_path / "out"):
        arguments = [str(one) for one in ("convert", weights, out, *options, *more)]
        return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=120)

    return run


def test_the_table_says_what_was_kept_and_dropped(command, tmp_path):
    done = command()
    assert done.returncode == 0, done.stderr
    lines = {line[:30].split("  ")[0]: line.split() for line in done.stdout.splitlines()}
    assert done.stdout.startswith("BertForMaskedLM")
    assert "dropped: second copy of a tied tensor" in done.stdout
    assert "5,760" in done.stdout  # 90 tokens, width 64
    size = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert lines["written"][3] == f"{size:,}"
    assert "note: no pooler in the file" in done.stderr


def test_json_is_one_object_and_an_error_one_line_with_a_hint(command):
    done = command("--json")
    report = json.loads(done.stdout)
    assert report["architecture"] == "BertForMaskedLM"
    assert report["kept"] == report["written"]
    again = command("--json")
    assert again.returncode == 1
    assert again.stdout == ""
    assert [line.split(":")[0] for line in again.stderr.splitlines()] == ["error", "hint"]

"""What a layer moves on a GPU, counted without one: elementwise work is what a fast GPU waits for."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "gpu"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "most"),
    [
        (["count_compiled.py", "BERT"], {"128 | 0": 70, "128 | 0.1": 80, "512 | 0.1": 80}),
        (["count.py", "roberta-word-base"], {"128 | 0": 88, "128 | 0.1": 105, "512 | 0.1": 105}),
    ],
)
def test_a_layer_of_bert_base_moves_at_most_so_many_kilobytes_a_token(command, most):
    command = [sys.executable, str(FOLDER / command[0]), *command[1:]]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for case, kilobytes in most.items():
        (line,) = [line for line in lines if f"| {case} |" in line]
        forward, backward, *_ = map(float, re.findall(r"([\d.]+) kB", line))
        assert 0.8 * kilobytes < forward + backward <= kilobytes

"""Count the bytes that one compiled layer moves for a token, as inductor plans its kernels: `pretrain --compile`.

    python benchmarks/gpu/count_compiled.py [MODEL...]

Input: nothing. Output: a table on stdout. A layer in bf16, a quarter of 768 wide, is compiled on the CPU for four rows
and for eight; the difference is what a token takes. Counted are the kernels that inductor makes; products and attention
are kernels of libraries, whose bytes `count.py` leaves out, too. How kernels are fused may differ on a GPU.
"""

import sys
from typing import Any

import torch
from count import NARROW, SCALE
from torch._inductor import metrics
from torch._inductor.scheduler import ExternKernelSchedulerNode, NopKernelSchedulerNode

from clue_bench.models import attention
from clue_bench.models.attention import rotary_angles
from clue_bench.models.config import ModelConfig
from clue_bench.models.encoder import Layer
from clue_bench.models.gpt2 import DecoderLayer
from clue_bench.tables import make_table

BYTES_COUNTED_AS_ONE = 4  # inductor counts in fp32 numbers
CASES = {"bert": 128, "gpt2": 128, "roformer": 512}


def moved() -> int:
    """Return the bytes of the kernels that inductor has made since `metrics.reset`."""
    libraries = ExternKernelSchedulerNode | NopKernelSchedulerNode
    return sum(BYTES_COUNTED_AS_ONE * num for node, num in metrics.nodes_num_elem if not isinstance(node, libraries))


def passes(family: Any, rows: int, length: int) -> tuple[int, int]:
    """Return the bytes of a layer's forward and of its backward pass."""
    torch._dynamo.reset()
    metrics.reset()
    config = ModelConfig(family=family, vocab_size=128, layers=1, **NARROW)
    layer = (DecoderLayer if family == "gpt2" else Layer)(config).to(torch.bfloat16)
    layer.compile(fullgraph=True, dynamic=False)
    x_BSD = torch.randn(rows, length, config.hidden_size, dtype=torch.bfloat16, requires_grad=True)
    rotary = rotary_angles(torch.arange(length), config.head_size) if family == "roformer" else None
    y_BSD = layer(x_BSD, None, True, None) if family == "gpt2" else layer(x_BSD, None, rotary, None, None)
    forward = moved()
    y_BSD.backward(torch.randn_like(y_BSD))
    return forward, moved() - forward


def main() -> None:
    """Count the models that are named, or all; print a table."""
    attention.has_fused_kernel = lambda x, drop: drop is None  # type: ignore[assignment]
    torch._logging.set_logs(inductor_metrics=True)  # or nothing is counted
    torch._inductor.config.force_disable_caches = True  # what was compiled before is not counted
    table = []
    for family in sys.argv[1:] or CASES:
        length = CASES[family]
        few, many = (passes(family, rows, length) for rows in (4, 8))
        cells = [f"{SCALE * (more - less) / (4 * length) / 1e3:.1f} kB" for less, more in zip(few, many, strict=True)]
        table.append([family, str(length), *cells])
    header = ["model", "length", "forward: bytes a token and layer", "backward: bytes a token and layer"]
    print(make_table(f"At width {NARROW['hidden_size'] * SCALE}, compiled", header, table).to_markdown())


if __name__ == "__main__":
    main()

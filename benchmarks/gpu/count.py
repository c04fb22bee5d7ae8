"""Count the kernels of a micro-batch and the bytes that they move, by dispatching it with the GPU's branches on a CPU.

    python benchmarks/gpu/count.py [RECIPE...]

Input: nothing; texts are random ids. Output: a table on stdout. Kernels are dispatched operations that are no views, as
a GPU would launch them without a compiler. Bytes are those of their operands, elements that are repeated counted once;
matrix products and fused attention are kernels, too, but their bytes are left out, as is reading the dropout pool.
Models are one and two layers at a quarter of the width of 768, at four rows and at eight: the differences are what a
layer and a token take.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from check import CPU, Bench
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clue_bench.models import attention, gpt2
from clue_bench.pretraining import step, train, vocabulary_loss
from clue_bench.pretraining.train import Pretraining
from clue_bench.tables import make_table
from clue_bench.training import dropout
from clue_bench.training.dropout import RowDropout
from clue_bench.training.working_weights import WorkingWeights

PICKS = ("gather", "scatter", "index_select", "embedding")  # move some elements of a large tensor
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "scaled_dot_product", "matmul", "linear")
SCALE = 4  # of the widths
NARROW = {"hidden_size": 192, "heads": 3, "feed_forward_size": 768}
VOCABULARY = 21_248  # a multiple of 128, as logits are on a GPU
CASES = [  # recipe, length, dropout
    ("roberta-word-base", 128, 0.0),
    ("roberta-word-base", 128, 0.1),
    ("roberta-word-base", 512, 0.1),
    ("roformer-base-wwm", 512, 0.0),
    ("gpt2-base", 128, 0.0),
    ("roberta-word-tiny", 128, 0.0),
]


class Counted(NamedTuple):
    """Of one pass: kernels, bytes, and the bytes of operands of the size of the logits."""

    kernels: int
    moved: int
    of_logits: int

    def __sub__(self, other: "Counted") -> "Counted":
        return Counted(*(a - b for a, b in zip(self, other, strict=True)))


class Count(TorchDispatchMode):
    """Counts what is dispatched while it is entered."""

    def __init__(self, logits: int) -> None:
        super().__init__()
        self.logits, self.found = logits, Counted(0, 0, 0)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        name = function._schema.name.removeprefix("aten::")
        if function.is_view or name.startswith(("prim::", "empty", "detach", "_unsafe_view", "new_empty")):
            return result
        moved = {} if any(name.lstrip("_").startswith(each) for each in PRODUCTS) else _by_size([*given, *made])
        if name.startswith(PICKS) and not name.endswith("backward"):
            moved = {size: num for size, num in moved.items() if size < max(moved)} or moved
        kernels, total, of_logits = self.found
        large = moved.get(self.logits, 0)
        self.found = Counted(kernels + 1, total + sum(moved.values()), of_logits + large)
        return result


def _by_size(tensors: list[Tensor]) -> dict[int, int]:
    """Return the bytes of tensors by their number of elements, those that are repeated by expanding counted once."""
    found: dict[int, int] = {}
    for tensor in tensors:
        sizes = zip(tensor.shape, tensor.stride(), strict=True)
        elements = 1
        for size, stride in sizes:
            elements *= size if stride else 1
        found[elements] = found.get(elements, 0) + elements * tensor.element_size()
    return found


def passes(run: Pretraining, rows: int) -> tuple[Counted, Counted]:
    """Return what a forward and a backward pass over so many rows take."""
    batch, keys_B = run.feeds.assemble(run.feeds.inputs(0, slice(0, rows)))
    logits = batch.targets_BK.numel() * VOCABULARY
    with FakeTensorMode(allow_non_fake_inputs=True):  # shapes and types alone
        drop = run.dropout.masks(keys_B, sites=run.config.dropout_sites)
        with Count(logits) as forward:
            losses, _ = step._losses(run.network, batch, drop, run._autocast)
        total = torch.stack([loss for loss in losses if loss is not None]).sum()
        with Count(logits) as backward:
            torch.autograd.backward(total)
    assert isinstance(run.network, WorkingWeights)
    run.network.hand_over_gradients()
    run.optimizer.zero_grad(set_to_none=True)
    return forward.found, backward.found


def line(bench: Bench, recipe: str, length: int, dropout: float) -> list[str]:
    """Return a line of the table."""
    found: dict[tuple[int, int], tuple[Counted, Counted]] = {}
    sets: dict[str, Any] = {"max_length": length, "dropout": dropout, "precision": "bf16", "global_batch": 8, **NARROW}
    for layers in (1, 2):
        run = bench.run(recipe, CPU, vocabulary=VOCABULARY, layers=layers, max_positions=max(512, length), **sets)
        for rows in (4, 4, 8):  # the first makes the pool of dropout masks
            found[layers, rows] = passes(run, rows)
        logits = found[1, 8][0].of_logits and run.feeds.assemble(run.feeds.inputs(0, slice(0, 8)))[0].targets_BK.numel()
    cells = []
    for kind in (0, 1):
        one, two = (found[layers, 8][kind] - found[layers, 4][kind] for layers in (1, 2))
        layer = found[2, 8][kind].kernels - found[1, 8][kind].kernels
        bytes_of_layer = (two.moved - one.moved) * SCALE / (4 * length)
        rest = found[1, 8][kind].kernels - layer
        cells += [f"{layer} + {rest}", f"{bytes_of_layer / 1e3:.1f} kB"]
    of_logits = sum(found[1, 8][kind].of_logits for kind in (0, 1)) / (logits * VOCABULARY)
    return [recipe, str(length), f"{dropout:g}", *cells, f"{of_logits:.0f} B"]


def main() -> None:
    """Count the cases, or those of the recipes that are named; print a table."""
    for module in (attention, gpt2):
        module.has_fused_kernel = lambda x: True  # type: ignore[assignment]
    dropout.mask_type = lambda x: torch.bool
    RowDropout.by_kernel = lambda self, heads: self.next(heads) and 0.0  # type: ignore[method-assign, assignment]
    attention.has_complex_kernel = vocabulary_loss.is_fast_softmax = lambda x: True
    train.has_working_weights = lambda precision, device: True
    asked = sys.argv[1:] or [case[0] for case in CASES]
    with tempfile.TemporaryDirectory() as folder:
        rows = [line(Bench(Path(folder), CPU), *case) for case in CASES if case[0] in asked]
    header = ["recipe", "length", "dropout", "forward: kernels a layer + rest", "bytes a token and layer"]
    header += ["backward: kernels a layer + rest", "bytes a token and layer ", "bytes a logit"]
    print(make_table(f"At width {NARROW['hidden_size'] * SCALE}", header, rows).to_markdown())


if __name__ == "__main__":
    main()

"""Count the bytes that a layer of `pretrain --compile` moves for a token, as inductor plans its kernels for a GPU.

    python benchmarks/gpu/count_compiled.py [--kernels] [MODEL...]

Input: nothing. Output: a table on stdout; with `--kernels` also each kernel's hidden states a token. A layer is planned
without being run, on any machine: as for Triton on a card of 132 multiprocessors (H100, H200), though its tensors are
said to lie on a CPU, since PyTorch makes no others here. The difference of two numbers of rows is what a token takes.
Counted are the kernels that inductor makes; products, what they add to included, and attention are kernels of
libraries, whose bytes `count.py` leaves out, too.
"""

import sys
from functools import partial
from typing import Any, NamedTuple

import torch
from torch._dynamo.utils import detect_fake_mode
from torch._functorch.aot_autograd import make_boxed_func
from torch._inductor import compile_fx, config, ir, lowering, scheduler
from torch._inductor.codegen.triton import TritonScheduling
from torch._inductor.debug import DebugContext
from torch._inductor.fx_passes import post_grad
from torch._inductor.graph import GraphLowering
from torch._inductor.runtime.hints import DeviceProperties
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensorMode

from clue_bench.models import attention
from clue_bench.models.attention import rotary_angles
from clue_bench.models.config import ModelConfig
from clue_bench.models.encoder import Layer
from clue_bench.models.gpt2 import DecoderLayer
from clue_bench.tables import make_table
from clue_bench.training import dropout
from clue_bench.training.dropout import DropoutPool, RowDropout

CARD = DeviceProperties(
    type="cuda", index=0, multi_processor_count=132, cc=90, major=9, regs_per_multiprocessor=2**16,
    max_threads_per_multi_processor=2048, max_threads_per_block=1024, warp_size=32,
)  # fmt: skip
LIBRARIES = scheduler.ExternKernelSchedulerNode | scheduler.NopKernelSchedulerNode
POSITIONS = 65_536  # of a micro-batch: inductor fuses sums over rows where there are many


class Case(NamedTuple):
    """A layer of a model: its family, width, rows' length and dropout."""

    name: str
    family: Any
    width: int
    length: int
    rate: float


CASES = [
    Case("BERT base", "bert", 768, 128, 0.0),
    Case("BERT base", "bert", 768, 128, 0.1),
    Case("BERT base", "bert", 768, 512, 0.1),
    Case("RoFormer base", "roformer", 768, 512, 0.0),
    Case("GPT2 base", "gpt2", 768, 128, 0.0),
    Case("tiny", "bert", 128, 128, 0.0),
    Case("tiny", "bert", 128, 128, 0.1),
]

Kernels = list[tuple[str, int]]
"""Of a pass: every kernel that inductor makes, and its bytes."""


def plan_for_gpu() -> None:
    """Let inductor plan kernels as for the card."""
    scheduler.is_gpu = ir.is_gpu = lowering.is_gpu = post_grad.is_gpu = lambda device: True
    scheduler._is_gpu_triton_backend = lambda *nodes: True
    scheduler.Scheduler.create_backend = lambda self, device: TritonScheduling(self)  # type: ignore[method-assign]
    DeviceProperties.create = lambda device: CARD  # type: ignore[method-assign, assignment]
    ir.is_cpu = lambda x: False
    scheduler.BaseSchedulerNode.is_cpu = lambda node: False  # type: ignore[method-assign]
    config.force_disable_caches = True
    attention.has_fused_kernel = lambda x: True
    dropout.mask_type = lambda x: torch.bool
    RowDropout.by_kernel = lambda self, heads: self.next(heads) and 0.0  # type: ignore[method-assign, assignment]


def planned(graph: torch.fx.GraphModule, inputs: Any, *, passes: list[Kernels], **more: Any) -> Any:
    """Add a pass's kernels to `passes`; return what computes nothing but shapes."""
    compile_fx.view_to_reshape(graph)
    fakes = detect_fake_mode(inputs)
    with V.set_fake_mode(fakes):
        compile_fx.FakeTensorProp(graph, mode=fakes).propagate(*inputs)
        compile_fx._recursive_post_grad_passes(graph, is_inference=False)
        compile_fx.record_original_output_strides(graph)
        lowered = GraphLowering(graph, example_inputs=inputs, is_backward=more.get("is_backward", False))
        with V.set_graph_handler(lowered), V.set_extern_kernel_nodes([]), V.set_debug_handler(DebugContext()):
            lowered.run(*inputs)
            lowered._update_scheduler()
            nodes = [node for node in lowered.scheduler.nodes if not isinstance(node, LIBRARIES)]
            passes.append([(node.get_name(), node.get_read_write_buffers_sizes()) for node in nodes])
    return make_boxed_func(graph.forward)


def passes_of(case: Case, rows: int) -> list[Kernels]:
    """Return the kernels of a layer's forward and of its backward pass."""
    torch._dynamo.reset()
    found: list[Kernels] = []
    with FakeTensorMode(allow_non_fake_inputs=True):  # shapes and types alone
        sizes = {"hidden_size": case.width, "heads": case.width // 64, "feed_forward_size": 4 * case.width}
        model = ModelConfig(family=case.family, vocab_size=128, layers=1, **sizes)
        torch.set_default_dtype(torch.bfloat16)
        layer = (DecoderLayer if case.family == "gpt2" else Layer)(model)
        torch.set_default_dtype(torch.float32)
        x_BSD = torch.randn(rows, case.length, case.width, dtype=torch.bfloat16, requires_grad=True)
        pool = DropoutPool(case.rate, seed=1, device=torch.device("cpu"))
        drop = pool.masks(torch.arange(rows), sites=2 * model.dropout_sites)
        if drop is not None:
            drop(x_BSD)  # as that of the embeddings does, it makes the pool
            drop = drop.next(model.dropout_sites_of_layer)
        backend = partial(compile_fx.compile_fx, inner_compile=partial(planned, passes=found))
        compiled = torch.compile(layer, backend=backend, fullgraph=True, dynamic=False)
        if case.family == "gpt2":
            y_BSD = compiled(x_BSD, None, True, drop)
        else:
            is_rotary = case.family == "roformer"
            rotary = rotary_angles(torch.arange(case.length), model.head_size) if is_rotary else None
            y_BSD = compiled(x_BSD, None, rotary, drop, None)
        y_BSD.backward(torch.randn_like(y_BSD))
    return found


def main() -> None:
    """Count the models whose names begin as was asked, or all; print a table."""
    asked = [word for word in sys.argv[1:] if word != "--kernels"] or [""]
    plan_for_gpu()
    table = []
    for case in CASES:
        if not any(case.name.lower().startswith(word.lower()) for word in asked):
            continue
        few, many = (passes_of(case, num * POSITIONS // case.length) for num in (1, 2))
        moved = [sum(num for _, num in kernels) for kernels in (*few, *many)]
        forward, backward = ((moved[2 + at] - moved[at]) / POSITIONS for at in (0, 1))
        cells = [f"{len(many[0])}", f"{forward / 1e3:.1f} kB", f"{len(many[1])}", f"{backward / 1e3:.1f} kB"]
        table.append([case.name, str(case.length), f"{case.rate:g}", *cells, f"{(forward + backward) / 1e3:.1f} kB"])
        if "--kernels" in sys.argv:
            for name, kernels in zip(("forward", "backward"), many, strict=True):
                states = [f"{each} {num / (2 * POSITIONS * 2 * case.width):.2f}" for each, num in kernels]
                print(f"{case.name} @{case.length}, {case.rate:g}, {name}: {', '.join(states)}\n")
    header = ["model", "length", "dropout", "forward: kernels", "bytes a token and layer"]
    header += ["backward: kernels", "bytes a token and layer ", "both"]
    print(make_table("Compiled", header, table).to_markdown())


if __name__ == "__main__":
    main()

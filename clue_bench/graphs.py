"""A function of tensors, recorded as a CUDA graph for each set of shapes and replayed by one launch.

Enters: a function that reads tensors, launches the same kernels whenever the shapes are the same, and never asks the
device for a value: nothing in it may depend on numbers that the host has, or they are frozen. Leaves: a callable of the
same results. Small models' kernels take less time than launching them one by one does.

Untested on a GPU so far, so nothing uses it unless asked to. Everything but `record_cuda_graph` runs on CPUs, too.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

WARM_UPS = 3
"""Calls before the first recording: kernels are chosen and optimizers allocate in them. DDP would need eleven."""

Replay = Callable[[], Any]
Record = Callable[[Callable[[Any], Any], Any], Replay]
"""Takes a function and its argument, whose tensors stay where they are; returns what repeats the call."""


class Replayed:
    """Calls `function` with a tuple (nested; of tensors and None), as it is at first and then recorded."""

    def __init__(self, function: Callable[[Any], Any], *, record: Record | None = None) -> None:
        """`record` is that of CUDA unless another is given."""
        self._function = function
        self._record = record or partial(record_cuda_graph, pool=torch.cuda.graph_pool_handle())
        self._warm_ups = WARM_UPS
        self._recordings: dict[Any, tuple[list[Tensor | None], Replay]] = {}

    def __call__(self, given: Any) -> Any:
        """Return the function's result for `given`, in tensors of its own."""
        if self._warm_ups:
            self._warm_ups -= 1
            return self._on_side_stream(given)
        leaves, structure = pytree.tree_flatten(given)
        shapes = (structure, tuple(None if leaf is None else (leaf.shape, leaf.dtype) for leaf in leaves))
        if shapes not in self._recordings:
            own = [None if leaf is None else leaf.clone() for leaf in leaves]
            self._recordings[shapes] = own, self._record(self._function, pytree.tree_unflatten(own, structure))
        own, replay = self._recordings[shapes]
        for place, leaf in zip(own, leaves, strict=True):
            if place is not None:
                place.copy_(leaf, non_blocking=True)
        return pytree.tree_map(torch.clone, replay())

    def _on_side_stream(self, given: Any) -> Any:
        """Call the function where recording will call it: gradients remember the stream that they were made on."""
        if not torch.cuda.is_available():
            return self._function(given)
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            result = self._function(given)
        torch.cuda.current_stream().wait_stream(stream)
        return result


def record_cuda_graph(function: Callable[[Any], Any], given: Any, *, pool: Any) -> Replay:
    """Record `function(given)` without running it; the returned callable runs it and returns the same tensors.

    Graphs of one memory `pool` use the same memory, one after the other: results are good until the next replay.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        result = function(given)

    def replay() -> Any:
        graph.replay()
        return result

    return replay

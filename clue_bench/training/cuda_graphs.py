"""A function of tensors, recorded as a CUDA graph for each set of shapes and replayed by one launch.

Input: a function that reads tensors, launches the same kernels whenever the shapes are the same, and never asks the
device for a value: nothing in it may depend on numbers that the host has, or they are frozen. What it keeps for later
calls (moments of an optimizer, a pool of dropout masks) has to be there before it is recorded, so its first calls, and
the first one of every set of shapes, are made as they are. Output: a callable of the same results.

Small models' kernels take less time than launching them one by one does: on an H200 a step of 128 rows of a 2-layer
model takes 4 ms recorded and 33 ms launched, with the same losses. Everything but `CudaRecorder` runs on CPUs, too.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from clue_bench.errors import ClueBenchError

WARM_UPS = 3
"""Calls before the first recording: kernels are chosen and optimizers allocate in them."""

Function = Callable[[Any], Any]
"""Takes a tuple, nested, of tensors and None; returns another."""

Replay = Callable[[], Any]
"""Repeats a recorded call; returns its results, good until the next replay."""


class Recorder(Protocol):
    """Records calls."""

    def aside(self) -> AbstractContextManager[None]:
        """Return where calls that are not recorded are made."""
        ...

    def record(self, function: Function, given: Any) -> Replay:
        """Record `function(given)` without running it; the tensors of `given` stay where they are."""
        ...


class Replayed:
    """Calls a function as it is at first, and then recorded."""

    def __init__(self, function: Function, recorder: Recorder) -> None:
        self._function, self._recorder = function, recorder
        self._warm_ups = WARM_UPS
        self._recordings: dict[Any, tuple[list[Tensor | None], Replay] | None] = {}  # None: such shapes came once

    def __call__(self, given: Any) -> Any:
        """Return the function's result for `given`, in tensors of its own."""
        leaves, structure = pytree.tree_flatten(given)
        shapes = (structure, tuple(None if leaf is None else (leaf.shape, leaf.dtype) for leaf in leaves))
        if self._warm_ups or shapes not in self._recordings:
            self._warm_ups = max(0, self._warm_ups - 1)
            self._recordings[shapes] = None
            with self._recorder.aside():
                return self._function(given)
        recording = self._recordings[shapes]
        if recording is None:
            static = [None if leaf is None else leaf.clone() for leaf in leaves]
            recording = static, self._recorder.record(self._function, pytree.tree_unflatten(static, structure))
            self._recordings[shapes] = recording
        static, replay = recording
        for target, leaf in zip(static, leaves, strict=True):
            if target is not None:
                target.copy_(leaf, non_blocking=True)
        return pytree.tree_map(lambda leaf: None if leaf is None else leaf.clone(), replay())


class CudaRecorder:
    """Records CUDA graphs, all on one stream and in one memory pool: they run one after the other."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Work on the stream of the recordings, so that what they will need is there already."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, function: Function, given: Any) -> Replay:
        """Record `function(given)` without running it.

        Raises torch.OutOfMemoryError, and ClueBenchError if something in it waits for the device.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads (NCCL's watchdog, a tracker's) go on asking the device while this one records.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                result = function(given)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise ClueBenchError(f"recording a CUDA graph: {reason}", "leave out --cuda-graphs") from error

        def replay() -> Any:
            graph.replay()
            return result

        return replay

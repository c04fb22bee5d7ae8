"""The processes of a run, which torchrun starts: NCCL on GPUs, Gloo on CPUs.

Input: the environment. Output: this process's share of a step's rows, sums over all processes, and the gradient as one
vector: it is exchanged once a step, in bf16 where products are, outside of what may be recorded as a CUDA graph.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from clue_bench.errors import ClueBenchError
from clue_bench.numbers import counted
from clue_bench.pretraining.objectives import PretrainingBatch
from clue_bench.pretraining.step import Means, StepSums, Sums, accumulate, num_predictions, update
from clue_bench.training.cuda_graphs import Function
from clue_bench.training.optim import LossScale
from clue_bench.training.working_weights import Network


@dataclass(frozen=True)
class Processes:
    """The number of this process, and the number of processes."""

    rank: int
    size: int

    @classmethod
    def start(cls, device: torch.device) -> "Processes":
        """Join the other processes if torchrun started several."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size > 1 and not dist.is_initialized():
            if device.type == "cuda":
                dist.init_process_group("nccl", device_id=device)  # else NCCL guesses, and may hang
            else:
                dist.init_process_group("gloo")
        return cls(dist.get_rank(), size) if size > 1 else cls(0, 1)

    @property
    def is_first(self) -> bool:
        """Return whether this process writes the files."""
        return self.rank == 0

    def stop(self) -> None:
        """Leave the other processes."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def share(self, num: int) -> slice:
        """Return which of `num` rows belong to this process: consecutive ones, with sizes that differ by one at most.

        Raises ClueBenchError if there are more processes than rows.
        """
        if num < self.size:
            raise ClueBenchError(
                f"{counted(self.size, 'process', 'processes')} for {counted(num, 'row')} a step",
                "start fewer, or raise global_batch",
            )
        return slice(num * self.rank // self.size, num * (self.rank + 1) // self.size)

    def summed(self, values: Tensor) -> Tensor:
        """Return the sum of every process's `values`."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def means(self, sums: Sums) -> Means:
        """Return the means over the rows of all processes, which all of them ask for at once."""
        return Sums(*map(self.summed, sums)).means()

    def agreed(self, values: list[int], device: torch.device) -> list[int]:
        """Return the largest of every process's `values`, one by one."""
        if self.size == 1:
            return values
        largest = torch.tensor(values, device=device)
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return [int(value) for value in largest.tolist()]

    def in_any(self, is_so: bool) -> bool:
        """Return whether something is so in any process. Waits for the others, but not for what GPUs are doing."""
        if self.size == 1:
            return is_so
        flag = torch.tensor(int(is_so))
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=_between_hosts(dist.group.WORLD))
        return bool(flag)

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()

    def from_first(self, value: Callable[[], float], device: torch.device) -> float:
        """Return the first process's `value()`; the others wait for it."""
        if self.size == 1:
            return value()
        shared = torch.tensor(value() if self.is_first else 0.0, dtype=torch.float64, device=device)
        dist.broadcast(shared, src=0)
        return float(shared)


@cache
def _between_hosts(world: Any) -> Any:
    """Return a group that exchanges what lies in hosts' memory; all processes ask for it at the same time, once."""
    return world if dist.get_backend(world) == "gloo" else dist.new_group(backend="gloo")


def shared_step(
    processes: Processes,
    network: Network,
    optimizer: torch.optim.Optimizer,
    *,
    assemble: Callable[[Any], tuple[PretrainingBatch, Tensor]],
    settings_of_gradient: Callable[[Tensor], dict[str, Any]],
    clip_norm: float,
    loss_scale: LossScale | None,
    dtype: torch.dtype,
) -> list[Function]:
    """Return the parts of a step of several processes: functions of tensors, and between them the exchanges.

    `assemble` gives a batch and its rows' keys, with which `settings_of_gradient` has the settings of `accumulate`.
    The gradient is exchanged in `dtype`.
    """

    def count(inputs: Any) -> Any:
        batch, keys_B = assemble(inputs)
        return batch, keys_B, num_predictions(batch)

    def exchange_counts(given: Any) -> Any:
        batch, keys_B, predictions_4 = given
        return batch, keys_B, processes.summed(predictions_4)

    def compute(given: Any) -> Any:
        batch, keys_B, predictions_4 = given
        sums = accumulate(network, batch, predictions_4, **settings_of_gradient(keys_B))
        return flat_gradient(network, dtype), sums

    def exchange_gradient(given: Any) -> Any:
        flat, sums = given
        return processes.summed(flat), sums

    def apply(given: Any) -> StepSums:
        flat, sums = given
        spread_gradient(network, flat)
        return update(network, optimizer, sums, clip_norm=clip_norm, loss_scale=loss_scale)

    return [count, exchange_counts, compute, exchange_gradient, apply]


@torch.no_grad()
def flat_gradient(model: Network, dtype: torch.dtype) -> Tensor:
    """Take the gradient from the weights: one vector, for one exchange between processes."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    parts = [(torch.zeros_like(weight) if weight.grad is None else weight.grad).flatten() for weight in trained]
    flat = torch.empty(sum(map(len, parts)), dtype=dtype, device=parts[0].device)
    torch.cat(parts, out=flat)
    for weight in trained:
        weight.grad = None
    return flat


def spread_gradient(model: Network, flat: Tensor) -> None:
    """Give the weights the gradient that `flat_gradient` has made a vector of."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight, part in zip(trained, torch.split(flat, [weight.numel() for weight in trained]), strict=True):
        weight.grad = part.view_as(weight).to(weight.dtype)

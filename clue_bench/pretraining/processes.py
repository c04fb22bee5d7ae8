"""The processes of a run: one, or those that torchrun started.

Input: torchrun's environment variables. Output: this process's share of a batch, and sums over all processes.
The backend is NCCL on GPUs and Gloo on CPUs; gradients are exchanged by DistributedDataParallel.
"""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from clue_bench.errors import ClueBenchError


@dataclass(frozen=True)
class Processes:
    """This process's number and how many there are."""

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
        """Whether this process writes the files."""
        return self.rank == 0

    def stop(self) -> None:
        """Leave the other processes."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def share(self, num: int) -> slice:
        """Return which of `num` rows are this process's: consecutive ones, sizes differing by one at most.

        Raises ClueBenchError if there are more processes than rows.
        """
        if num < self.size:
            raise ClueBenchError(f"{self.size} processes for {num} rows a step", "start fewer, or raise global_batch")
        return slice(num * self.rank // self.size, num * (self.rank + 1) // self.size)

    def summed(self, values: Tensor) -> Tensor:
        """Return the sum of every process's `values`."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return `model` with its gradients averaged over the processes."""
        return DistributedDataParallel(model) if self.size > 1 else model

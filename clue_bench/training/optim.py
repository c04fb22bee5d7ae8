"""The optimizer, its schedule and its updates, for pretraining and fine-tuning alike.

Input: a module, plain numbers, and a function that computes gradients. Output: AdamW over two parameter groups, or two
for each layer; learning rates by step; updates that are clipped, skipped where they are not finite, and recorded as
CUDA graphs if asked; and errors that name a divergence or a lack of memory.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from clue_bench.errors import ClueBenchError
from clue_bench.training.cuda_graphs import CudaRecorder, Function, Recorder, Replayed
from clue_bench.training.muon import Muon

FIRST_SCALE, GROWTH = 2.0**16, 2_000  # of losses in fp16, and finite updates after which it doubles: torch's

UNCORRECTED = 2.0**20
"""Updates after which beta^t is 0 for every beta of the cards; far from 2^24, where fp32 no longer counts."""


def adamw(
    module: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    epsilon: float,
    scale_of: Callable[[str], float] = lambda _: 1.0,
) -> torch.optim.AdamW:
    """Return AdamW (with bias correction) that decays matrices and spares biases and norms, as BERT does.

    `scale_of` gives the factor of a parameter's learning rate, which `set_learning_rate` applies.
    """
    parameters: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        parameters.setdefault((parameter.ndim >= 2, scale_of(name)), []).append(parameter)
    groups = [
        {"params": parameters[is_matrix, scale], "weight_decay": weight_decay if is_matrix else 0.0, "scale": scale}
        for is_matrix, scale in sorted(parameters, reverse=True)
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=epsilon, fused=True)


def muon(
    module: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    epsilon: float,
    is_hidden: Callable[[str], bool],
    in_bf16: bool,
) -> Muon:
    """Return Muon for the matrices whose names `is_hidden` picks, and AdamW as `adamw` has it for everything else.

    `in_bf16` says whether Muon's own products are in bf16; else they are in fp32.
    """
    kinds: dict[tuple[bool, bool, int], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        is_matrix = parameter.ndim == 2
        kind = is_matrix, is_matrix and is_hidden(name), 3 if is_matrix and "qkv." in name else 1
        kinds.setdefault(kind, []).append(parameter)
    groups = [
        {
            "params": parameters,
            "weight_decay": weight_decay if is_matrix else 0.0,
            "orthogonal": orthogonal,
            "parts": parts,
            "in_bf16": in_bf16,
            "scale": 1.0,
        }
        for (is_matrix, orthogonal, parts), parameters in sorted(kinds.items(), key=lambda each: each[0], reverse=True)
    ]
    return Muon(groups, lr=learning_rate, betas=betas, eps=epsilon, fused=True)


def linear_schedule(
    step: int,
    *,
    peak: float,
    warmup_steps: int,
    total_steps: int,
    decay_steps: int | None = None,
    final: float = 0.0,
) -> float:
    """Return the learning rate of step `step` (0-based): up to `peak` over the warm-up, at last down to `final`.

    It falls over the last `decay_steps` steps, all those after the warm-up if None.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    decay = total_steps - warmup_steps if decay_steps is None else decay_steps
    return final + (peak - final) * min(1.0, (total_steps - step) / max(1, decay))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Use `learning_rate`, times the group's own scale, for the next update of every group."""
    for group in optimizer.param_groups:
        rate = learning_rate * group.get("scale", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def drop_bias_correction(optimizer: torch.optim.Optimizer) -> None:
    """Leave out Adam's bias correction, as BERT's own optimizer does; call it again after loading a state.

    Adam divides its moments by 1 - beta^t. Updates are counted from UNCORRECTED on, where both are 1.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"].fill_(UNCORRECTED)


def make_recordable(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Keep the learning rate on the device, so that a recorded update reads it there when it is replayed."""
    for group in optimizer.param_groups:
        group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=device)
        group["capturable"] = True


def load_moments(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take moments and counts from a state; rates and other settings stay those that the optimizer was made with."""
    optimizer.load_state_dict({"state": state["state"], "param_groups": optimizer.state_dict()["param_groups"]})


class LossScale:
    """What losses are multiplied by in fp16, in which most gradients would be 0 otherwise.

    It halves with every update that is not finite and doubles after GROWTH finite ones, as torch's GradScaler has it,
    but waits for nothing: it lies on the device, and a recorded update goes on changing it.
    """

    def __init__(self, device: torch.device) -> None:
        self.factor = torch.full((), FIRST_SCALE, dtype=torch.float32, device=device)
        self._good = torch.zeros((), dtype=torch.int64, device=device)  # finite updates in a row

    def follow(self, skipped: Tensor) -> None:
        """Change with an update that was `skipped`, or not."""
        self._good.copy_(torch.where(skipped, 0, self._good + 1))
        grows = self._good == GROWTH
        self.factor.mul_(torch.where(skipped, 0.5, torch.where(grows, 2.0, 1.0)))
        self._good.masked_fill_(grows, 0)

    @property
    def is_exhausted(self) -> Tensor:
        """Return whether it has fallen so low that the fault is the model's, not the type's."""
        return self.factor < 1

    def state(self) -> dict[str, float]:
        """Return plain values."""
        return {"factor": float(self.factor), "good": int(self._good)}

    def load(self, state: dict[str, float]) -> None:
        """Take values of `state`, in place: a recorded update reads them where they are."""
        self.factor.fill_(state["factor"])
        self._good.fill_(state["good"])


def loss_scale_for(precision: torch.dtype | None, device: torch.device) -> LossScale | None:
    """Return a loss scale where matrix products are in fp16, None elsewhere."""
    return LossScale(device) if precision is torch.float16 else None


class Applied(NamedTuple):
    """What became of a gradient: its norm before clipping, and whether the update was skipped as not finite."""

    norm: Tensor
    skipped: Tensor


def apply_gradients(
    optimizer: Any,
    parameters: Iterable[nn.Parameter],
    *,
    clip_norm: float,
    loss_scale: LossScale | None = None,
) -> Applied:
    """Clip the gradient to `clip_norm` (0: do not), update, and clear it. Nothing waits for the device.

    An update whose gradient is not finite leaves weights and moments as they are: the fused kernels read the flag that
    loss scaling uses. The gradient is one of losses times `loss_scale`, which then follows what became of it.
    """
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in trained]
    if loss_scale is not None:
        torch._foreach_mul_(gradients, 1 / loss_scale.factor)  # type: ignore[arg-type]
    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)  # type: ignore[arg-type]
    if clip_norm:
        torch.nn.utils.clip_grads_with_norm_(trained, clip_norm, norm, foreach=True)
    skipped = ~norm.isfinite()
    if loss_scale is not None:
        loss_scale.follow(skipped)
    optimizer.found_inf = skipped.float()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return Applied(norm, skipped)


class OutOfMemoryError(ClueBenchError):
    """Memory has run out in an update, which has changed nothing."""


class Updates:
    """The updates of a run: `learn(given)` at the learning rate of each step.

    `learn` computes gradients from tensors, calls `apply_gradients` and returns tensors to be read later. Nothing in it
    may depend on the step but through `given`: with `cuda_graphs` it is recorded once for every set of shapes. It may
    consist of parts, each of which is given what the one before returns; the first is recorded, and every second one.
    The others are exchanges between processes.
    """

    def __init__(
        self,
        learn: Function | Sequence[Function],
        optimizer: torch.optim.Optimizer,
        schedule: Callable[[int], float],
        *,
        device: torch.device,
        hint: Callable[[], str],
        halve: Callable[[Any], Any] = lambda given: None,
        in_any: Callable[[bool], bool] = lambda is_so: is_so,
        cuda_graphs: bool = False,
    ) -> None:
        """Prepare updates on `device`. `schedule` gives the rate of a step, `hint` the repair for a lack of memory.

        Where memory runs out, `halve` is told what was given and returns what needs less of it, None if nothing does;
        the update is made again. `in_any` says whether something is so in any process: all of them make the update
        again if memory has run out in one, before the last exchange.
        """
        self.optimizer, self.schedule = optimizer, schedule
        self._learn = self._parts = [learn] if callable(learn) else list(learn)
        self._device, self._hint, self._halve, self._in_any = device, hint, halve, in_any
        self._last_exchange = len(self._learn) - 2  # none of a single part
        self._new_recorder: Callable[[], Recorder] | None = None
        if cuda_graphs:
            self._record(CudaRecorder)

    def record_with(self, recorder: Recorder) -> None:
        """Record every further update that comes in shapes seen before, and replay it."""
        self._record(lambda: recorder)

    def _record(self, new_recorder: Callable[[], Recorder]) -> None:
        make_recordable(self.optimizer, self._device)
        self._new_recorder, recorder = new_recorder, new_recorder()
        self._parts = [part if at % 2 else Replayed(part, recorder) for at, part in enumerate(self._learn)]

    def __call__(self, step: int, given: Any) -> Any:
        """Make update `step` (0-based); return what `learn` returns. Raises OutOfMemoryError if memory runs out."""
        set_learning_rate(self.optimizer, self.schedule(step))
        while True:
            result, at, failed = given, 0, False
            try:
                for at, part in enumerate(self._parts):
                    if at == self._last_exchange and self._in_any(False):
                        break  # another process waits for this one to make the update again
                    result = part(result)
                else:
                    return result
            except RuntimeError as error:  # torch's CPU allocator has no exception of its own
                if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                    raise
                failed = True
            del result  # outside of the clause: the error holds the tensors of the step
            self._parts = self._learn  # recordings hold memory, too
            self.optimizer.zero_grad(set_to_none=True)
            # In another part the others are in an exchange already, or have changed their weights.
            can_agree = at == max(0, self._last_exchange - 1)
            if failed and can_agree:
                self._in_any(True)
            given = self._halve(given) if can_agree or not failed else None
            if given is None:
                raise OutOfMemoryError(f"out of memory at step {step + 1}", self._hint())
            if self._new_recorder is not None:
                self._record(self._new_recorder)


MANY_SKIPPED = 10
"""Updates in a row: so many that are not finite, and the run has diverged."""


NOTHING_KEPT = "no state had been saved"


def kept_state(state: Path, step: int) -> str:
    """Return what is left of a run whose state of `step` is in a file."""
    return f"the last good state, of step {step:,}, is {state}"


def divergence(found: str, *, hint: str, kept: str) -> ClueBenchError:
    """Return the error of a run whose numbers are no longer finite; `kept` says what is left of it."""
    return ClueBenchError(f"the run has diverged: {found}; {kept}", hint)


def check_weights(model: nn.Module, *, step: int, hint: str, kept: str) -> None:
    """Raise ClueBenchError if a weight is not finite after `step` updates: the last one is in no loss yet."""
    broken = torch.stack([~weight.isfinite().all() for weight in model.parameters()]).sum()
    if broken:
        raise divergence(f"{int(broken)} parameters are not finite after step {step}", hint=hint, kept=kept)

"""Describe this machine, and choose device and precision.

Input: nothing. Output: the device to use, the precision that pays on it, and a description for records.
torch is imported inside functions: describing a machine for a table must not load it.
"""

import ctypes
import gc
import logging
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clue_bench.errors import ClueBenchError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

log = logging.getLogger(__name__)

Precision = Literal["bf16", "fp16", "tf32", "fp32"]
Asked = Literal["auto", "bf16", "fp16", "tf32", "fp32"]
PRECISIONS = "of matrix products: bf16, fp16 (losses are scaled), tf32 (GPUs), fp32; auto: what is fast here"

FULL = 0.85  # share of a GPU's memory that tensors may take: blocks do not fit together, graphs have pools of their own
TENSOR_CORES, TF32_CORES = (7, 0), (8, 0)  # compute capabilities that multiply fp16 and TF32 in hardware

# Instruction sets that multiply bfloat16 matrices in hardware. Without them oneDNN emulates bf16, slower than fp32.
BF16_CPU_FLAGS = {"amx_bf16", "avx512_bf16"}
PRODUCTS_KEPT = 128  # programs that oneDNN wrote, one for each shape of bf16 product; its default is 1,024
GROWTH = 1.5  # of a process, before it gives freed memory back

_reached: dict[tuple[str, Precision], tuple[float, float]] = {}
"""Device and precision → the best FLOP/s that this process has measured, and when it measured last."""
_kept: dict[str, int] = {}
"""What this process had in memory when a batch first ended after freed memory had been given back."""


def pick_device() -> "torch.device":
    """Return this process's CUDA device if there is one (torchrun numbers processes by LOCAL_RANK), else the CPU.

    A scheduler may show each process its own device only, so the number is taken modulo the devices seen.
    """
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def other_devices() -> "list[torch.device]":
    """Return the GPUs that this process sees beside its own; none where a process was started for each of them."""
    import torch

    if not torch.cuda.is_available() or "LOCAL_RANK" in os.environ:
        return []
    return [torch.device("cuda", number) for number in range(1, torch.cuda.device_count())]


def on_device(array: "npt.NDArray[np.generic]", device: "torch.device") -> "torch.Tensor":
    """Return a tensor of `array` on `device`. A GPU copies it when it comes to it; nothing waits for that."""
    import torch

    tensor = torch.from_numpy(array)
    # From memory that may be paged out, the copy would wait until the device has done everything before it.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def wait_for(device: "torch.device") -> None:
    """Return when the device has done everything that it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def has_bf16(device: "torch.device") -> bool:
    """Return whether a device multiplies bf16 matrices in hardware."""
    import torch

    if device.type == "cuda":
        is_supported: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return is_supported
    return bool(BF16_CPU_FLAGS & _cpu_flags())


def pick_precision(asked: Asked, device: "torch.device") -> Precision:
    """Return the precision of matrix products: what was asked, or bf16 where the hardware has it.

    Else fp16 on GPUs that have it (V100, T4, RTX 20) and fp32 elsewhere. TF32 is switched on or off with it. Master
    weights, optimizer state, normalisations and losses are fp32 either way. Raises ClueBenchError for tf32 without it.
    """
    import torch

    is_gpu, is_fast_in_bf16 = device.type == "cuda", has_bf16(device)
    capability = torch.cuda.get_device_capability(device) if is_gpu else (0, 0)
    if asked == "tf32" and capability < TF32_CORES:
        found = "this GPU" if is_gpu else "the CPU"
        raise ClueBenchError(f"precision = tf32: {found} has no TF32", "give --set precision=auto")
    if (asked == "bf16" and not is_fast_in_bf16) or (asked == "fp16" and capability < TENSOR_CORES):
        log.warning("%s is emulated on this %s, several times slower than fp32", asked, device.type.upper())
    if is_gpu:
        torch.backends.cuda.matmul.allow_tf32 = asked == "tf32"
    if asked != "auto":
        return asked
    if is_fast_in_bf16:
        return "bf16"
    return "fp16" if capability >= TENSOR_CORES else "fp32"


def autocast_type(precision: Precision) -> "torch.dtype | None":
    """Return the type of matrix products under autocast; None where they are in the weights' own."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def keep_freed_memory() -> None:
    """Tell glibc to reuse large blocks instead of giving them back to the system after every tensor.

    By default each activation above 128 kB is mapped, page-faulted and unmapped again in every step; keeping the pages
    is worth a fifth of a small model's step. Does nothing where there is no glibc.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(PRODUCTS_KEPT))
    libc = ctypes.CDLL(None)
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4  # names of <malloc.h>
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, 2**31 - 1)
    libc.mallopt(m_top_pad, 2**26)


def give_back_freed_memory() -> None:
    """Return to the system what glibc keeps, where this process has grown by half since a batch first ended.

    For work whose batches have many lengths, between two of them: they leave holes into which the next, longer tensors
    do not fit. A model of 4 layers fine-tuned on C3 grew to 6.8 GB in 800 updates, of which 0.9 were in use. Mapping
    anew what was given back takes a second for some GB, so it is not done after every batch.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    needed = _kept.setdefault("bytes", _resident_bytes())
    if _resident_bytes() > max(needed * GROWTH, needed + 2**28):
        ctypes.CDLL(None).malloc_trim(0)
        _kept.pop("bytes", None)  # another thread may have been first


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_matrix_products(
    device: "torch.device", precision: Precision, *, max_age: float = float("inf"), at_least: float = 0.0
) -> float:
    """Return the FLOP/s that large matrix products reach here: the ceiling that a model's FLOP/s are compared with.

    Measured once per process, and again where the last time is more than `max_age` seconds ago; the best counts: what
    else runs on a shared machine makes a measurement low, and every share of it too high. `at_least` is the FLOP/s that
    a model has reached: where that is more than was measured, the machine was busier then, and is measured again.
    """
    key, now = (str(device), precision), time.monotonic()
    best, measured_at = _reached.get(key, (0.0, -float("inf")))
    if now - measured_at > max_age or not best or best < at_least:
        best = max(best, _matrix_products(device, precision), at_least)
        _reached[key] = best, now
    return best


def _matrix_products(device: "torch.device", precision: Precision) -> float:
    """Measure the FLOP/s of large matrix products.

    The best of a few products of random numbers: on ones a GPU draws less power, and is an eighth faster than with any
    model's. Sizes double up to 2048 (CPU) or 8192 (GPU) squared, or until one product takes a fifth of a second:
    bf16 on a CPU that only emulates it would take minutes at full size. Takes about a second.
    """
    import torch

    size, largest = (2048, 8192) if device.type == "cuda" else (256, 2048)
    dtype = autocast_type(precision) or torch.float32
    generator = torch.Generator(device).manual_seed(1)  # of its own: training's draws stay as they are
    best = 0.0
    while True:
        seconds = _seconds_of_product(torch.randn(size, size, dtype=dtype, device=device, generator=generator))
        best = max(best, 2 * size**3 / seconds)
        if size == largest or seconds > 0.2 / 8:
            return best
        size *= 2


def _seconds_of_product(a: "torch.Tensor") -> float:
    """Return the fastest of five times of a·aᵀ, the layout of a linear layer's weights."""
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        product = a @ a.T
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - started)
    return best


def describe_hardware() -> dict[str, str | int]:
    """Return processor, cores, memory (MiB) and, if torch is loaded and sees one, the GPU."""
    facts: dict[str, str | int] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _cpu_name(),
        "cores": os.cpu_count() or 1,
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_mib"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    torch = sys.modules.get("torch")
    if torch is not None:
        facts["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            facts["gpu"] = torch.cuda.get_device_name()
    return facts


def peak_memory_mib() -> int:
    """Return the largest resident size this process has had, in MiB (0 where the system does not say)."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)


def peak_gpu_memory_mib() -> int | None:
    """Return the most memory that tensors of this process have taken on its GPU, in MiB; None without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated()) // 2**20


def fits_on_gpu(work: Callable[[], None], *, more_bytes: int) -> bool:
    """Return whether `work` runs in the GPU's memory, and leaves room for `more_bytes` and the tenth that is lost."""
    import torch

    give_back_memory()
    torch.cuda.reset_peak_memory_stats()
    try:
        work()
    except torch.OutOfMemoryError:
        return False
    finally:
        give_back_memory()
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return bool(torch.cuda.max_memory_allocated() + more_bytes <= FULL * total)


def give_back_memory() -> None:
    """Let the GPU's memory that no tensor needs any more be used for blocks of other sizes."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()  # does nothing without a GPU


def _cpu_flags() -> set[str]:
    """Return the processor's feature flags as Linux names them; empty elsewhere, which means fp32."""
    return set(_cpuinfo("flags").split())


def _cpu_name() -> str:
    return _cpuinfo("model name") or platform.processor() or "unknown"


def _cpuinfo(key: str) -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == key:
                    return value.strip()
    except OSError:
        pass
    return ""

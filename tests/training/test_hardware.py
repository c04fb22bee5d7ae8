"""Devices, as a process under a scheduler sees them, and what is measured on them."""

import platform
import subprocess
import sys
import time

import pytest
import torch
import torch.distributed as dist

from clue_bench.errors import ClueBenchError
from clue_bench.pretraining.processes import Processes
from clue_bench.training import hardware


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that so many GPUs are visible; what is picked is noted, not used."""

    def pretend(count):
        picked = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", picked.append)
        return picked

    return pretend


@pytest.mark.parametrize(("visible", "local_rank", "number"), [(8, "3", 3), (1, "3", 0), (2, "3", 1), (1, None, 0)])
def test_a_process_takes_the_device_of_its_number_among_those_it_sees(gpus, monkeypatch, visible, local_rank, number):
    picked = gpus(visible)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert hardware.pick_device() == torch.device("cuda", number)
    assert picked == [torch.device("cuda", number)]


@pytest.mark.parametrize(("device", "expected"), [("cpu", {}), ("cuda:1", {"device_id": torch.device("cuda:1")})])
def test_nccl_is_told_its_device(monkeypatch, device, expected):
    asked = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(dist, "is_initialized", lambda: False)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **options: asked.append((backend, options)))
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    assert Processes.start(torch.device(device)) == Processes(1, 2)
    assert asked == [("nccl" if expected else "gloo", expected)]


def test_the_ceiling_is_measured_without_touching_trainings_random_numbers():
    before = torch.random.get_rng_state()
    assert hardware.measure_matrix_products(torch.device("cpu"), "fp32") > 1e8
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_ceiling_that_was_measured_low_is_mended_by_a_later_measurement_and_the_best_one_stays(monkeypatch):
    device, key = torch.device("cpu"), ("cpu", "fp32")
    undisturbed = hardware.measure_matrix_products(device, "fp32")
    monkeypatch.setattr(hardware, "_reached", {key: (1.0, time.monotonic() - 100)})
    assert hardware.measure_matrix_products(device, "fp32") == 1.0
    assert hardware.measure_matrix_products(device, "fp32", max_age=200) == 1.0
    mended = hardware.measure_matrix_products(device, "fp32", max_age=50)
    assert mended > undisturbed / 100
    hardware._reached[key] = 1e30, time.monotonic() - 100
    assert hardware.measure_matrix_products(device, "fp32", max_age=50) == 1e30


def test_the_ceiling_is_never_below_what_a_model_has_reached(monkeypatch):
    device, key = torch.device("cpu"), ("cpu", "fp32")
    monkeypatch.setitem(hardware._reached, key, (1.0, time.monotonic()))  # measured while the machine was busy
    assert hardware.measure_matrix_products(device, "fp32", at_least=0.5) == 1.0
    again = hardware.measure_matrix_products(device, "fp32", at_least=2.0)
    assert again > 1e8  # measured
    assert hardware.measure_matrix_products(device, "fp32", at_least=1e30) == 1e30


@pytest.mark.parametrize(("flags", "picked", "warned"), [({"avx512_bf16"}, "bf16", False), ({"avx2"}, "fp32", True)])
def test_bf16_is_picked_where_the_processor_has_it_and_warned_of_elsewhere(monkeypatch, caplog, flags, picked, warned):
    monkeypatch.setattr(hardware, "_cpu_flags", lambda: flags)
    assert hardware.pick_precision("auto", torch.device("cpu")) == picked
    assert not caplog.messages
    assert hardware.pick_precision("bf16", torch.device("cpu")) == "bf16"
    assert ("emulated" in caplog.text) is warned


@pytest.mark.parametrize(
    ("card", "capability", "has_bf16", "picked"),
    [("H200", (9, 0), True, "bf16"), ("V100", (7, 0), False, "fp16"), ("T4", (7, 5), False, "fp16"),
     ("P100", (6, 0), False, "fp32")],
)  # fmt: skip
def test_a_gpu_without_bf16_takes_fp16_where_it_has_tensor_cores(monkeypatch, card, capability, has_bf16, picked):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert hardware.pick_precision("auto", torch.device("cuda", 0)) == picked
    assert hardware.autocast_type(picked) is {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}[picked]


def test_tf32_is_on_only_where_it_was_asked_for_and_refused_where_it_is_not(monkeypatch):
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    for capability, asked, is_on in (((8, 0), "tf32", True), ((8, 0), "fp32", False), ((9, 0), "auto", False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        hardware.pick_precision(asked, gpu)
        assert torch.backends.cuda.matmul.allow_tf32 is is_on
    for device, capability in ((gpu, (7, 5)), (torch.device("cpu"), (0, 0))):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        with pytest.raises(ClueBenchError, match="has no TF32"):
            hardware.pick_precision("tf32", device)


def test_peak_memory_of_a_gpu_is_that_of_tensors_and_none_without_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert hardware.peak_gpu_memory_mib() is None
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**20 + 5)
    assert hardware.peak_gpu_memory_mib() == 3
    assert hardware.peak_memory_mib() > 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone keeps what was freed")
def test_memory_that_was_freed_in_pieces_goes_back_to_the_system_once_the_process_has_grown_by_half():
    script = """
import torch
from clue_bench.training import hardware

hardware.keep_freed_memory()
hardware.give_back_freed_memory()
kept = [torch.ones(2**18) for _ in range(1024)][::64]  # of 1 GiB in pieces every 64th stays
grown = hardware._resident_bytes()
hardware.give_back_freed_memory()
print(grown >> 20, hardware._resident_bytes() >> 20)
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    grown, left = map(int, printed.split())
    assert grown > left + 800

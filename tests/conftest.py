"""Fixtures: a small vocabulary, text, corpus and checkpoint, all made on the spot, and the real data where it is."""

import gc
import os
import random
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Every property with a few examples, the same each time; `make test-slow` tries many, and others each time.
settings.register_profile("few", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("many", max_examples=100, deadline=None)
settings.load_profile("few")

ROOT = Path(__file__).parent.parent
SPECIAL = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出"
    "就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所"
)
PIECES = ["，", "。", "？", "a", "##b", "b", "##a", "1", "2", "##1"]


def pytest_configure() -> None:
    """Keep every process, ours and those that tests start, off the hub and off the cores of other workers."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_DATASETS_OFFLINE"] = "1"
    os.environ["LC_ALL"] = "C.UTF-8"  # results are in the locale's language, and tests read English
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell has it for what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # or processes that tests start would ignore it, too
    if "PYTEST_XDIST_WORKER" in os.environ:  # torch reads it when it is imported, which no plugin does
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    gc.disable()  # until everything is imported


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collection, which would go over it again and again.

    Nor is the command line put together for each command that a test types.
    """
    from typer import main, testing

    gc.freeze()
    gc.enable()
    main.get_command = testing._get_command = cache(main.get_command)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real CLUE data and corpora; tests that need it are skipped, saying so, where there is none."""
    folder = Path(os.environ.get("CLUE_BENCH_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data: set CLUE_BENCH_REAL_DATA to the folder that holds clue/, corpus/ and vocab/")
    return folder


@pytest.fixture(scope="session")
def vocabulary_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocab.txt of some 80 tokens."""
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join([*SPECIAL, *CHARACTERS, *PIECES]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty documents of random sentences over the vocabulary, some with characters that it lacks."""
    draw = random.Random(0)
    documents = []
    for _ in range(60):
        lines = []
        for _ in range(draw.randint(1, 5)):
            sentence = "".join(draw.choices(CHARACTERS, k=draw.randint(3, 40)))
            lines.append(sentence + draw.choice(["。", "？", "，ab1。", "龘。"]))
        documents.append("\n".join(lines))
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory, text_file: Path, vocabulary_file: Path) -> Path:
    """A corpus folder of three shards, built from the text."""
    from clue_bench.corpus import build

    out = tmp_path_factory.mktemp("corpus") / "corpus"
    before = build.UNIT_CHARACTERS
    build.UNIT_CHARACTERS = 1_500
    try:
        for _ in build.build_corpus([text_file], vocabulary=vocabulary_file, out=out, workers=1):
            pass
    finally:
        build.UNIT_CHARACTERS = before
    return out


RECIPE = """
name = "test"
title = "for tests"
family = "bert"
vocab_size = "corpus"
layers = 2
embedding_size = "hidden"
hidden_size = 32
heads = 4
feed_forward_size = 64
max_positions = 64
activation = "gelu"
layer_norm_eps = 1e-12
tied_head = true
dropout = 0.1
initial_attention = "random"
objective = "mlm"
mask_rate = 0.15
final_mask_rate = "same"
sentence_order = "none"
starts_from = ""
labelled_share = 0.0
bag_weight = 0.0
optimizer = "adamw"
adam_beta1 = 0.9
adam_beta2 = 0.98
adam_epsilon = 1e-6
bias_correction = true
weight_decay = 0.01
clip_norm = 1.0
precision = "fp32"
seed = 1
held_out_share = 0.0
log_every = 2
save_every = 4

[stage1]
max_length = 32
steps = 24
global_batch = 8
micro_batch = 8
learning_rate = 1e-3
final_learning_rate = 0.0
warmup_share = 0.1
decay_share = 1.0
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """A recipe card of the smallest size that has every part."""
    path = tmp_path / "test.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> Path:
    """The run folder of a finished pretraining run of 24 steps."""
    from clue_bench.doors.shards import Corpus
    from clue_bench.pretraining.recipe import load_recipe
    from clue_bench.pretraining.run import run
    from clue_bench.pretraining.train import Pretraining

    folder = tmp_path_factory.mktemp("pretrained")
    card = folder / "test.toml"
    card.write_text(RECIPE, encoding="utf-8")
    out = folder / "run"
    for _ in run(Pretraining(load_recipe(str(card), {}), Corpus.open(corpus_folder), out), asked={}):
        pass
    return out


@pytest.fixture
def kernels() -> Callable[[Callable[[], Any]], list[Any]]:
    """What lists the kernels that a function calls, with the shapes of tensors and the values of everything else.

    A CUDA graph of the function is right for other tensors only if these calls are the same for them. What a graph
    cannot have is an error as far as a CPU shows it: results that the host waits for, and tensors from the host.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    waits = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "is_nonzero", "equal"}
    waits |= {"lift_fresh"}  # torch.tensor(…)

    def described(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return (tuple(value.shape), tuple(value.stride()), str(value.dtype))
        if isinstance(value, list | tuple):
            return tuple(map(described, value))
        return {key: described(each) for key, each in value.items()} if isinstance(value, dict) else value

    class Log(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[Any] = []

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = function.overloadpacket.__name__
            assert name not in waits, f"{function} waits for the device"
            if name in (
                "index",
                "index_put_",
                "index_put",
            ):
                assert all(at is None or at.dtype != torch.bool for at in args[1]), f"{function} by a mask waits"
            if function.namespace != "profiler":
                self.calls.append((str(function), described(args), described(kwargs or {})))
            return function(*args, **(kwargs or {}))

    def listed(function: Callable[[], Any]) -> list[Any]:
        with Log() as log:
            function()
        return log.calls

    return listed


@pytest.fixture
def repeats() -> Any:
    """A recorder without a GPU: where CUDA would replay a call's kernels, it makes the call again."""
    from contextlib import nullcontext

    class Repeats:
        def __init__(self) -> None:
            self.recorded: list[Any] = []
            self.num_aside = 0

        def aside(self) -> Any:
            self.num_aside += 1
            return nullcontext()

        def record(self, function: Callable[[Any], Any], given: Any) -> Callable[[], Any]:
            self.recorded.append(given)
            return lambda: function(given)

    return Repeats()

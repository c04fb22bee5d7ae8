"""Whatever happened to a file, every verb that opens it works, or says so in one line with a hint."""

import json
import random
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from clue_bench.conversion.convert import convert
from clue_bench.diagnosis.examine import examine
from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.prediction.predictor import Predictor
from clue_bench.weights.read import open_files

from .conftest import MAKE, PAGE, POINTER, damage

CASES = 3_000
FEW = 75


def finetune(folder: Path) -> None:
    """Open a model as finetune and bench do, up to the classifier."""
    base = open_pretrained(folder)
    base.tokeniser.encoder.ids(["中国的首都"])
    assert base.identity
    assert base.num_parameters
    base.classifier(("0", "1"), dropout=0.1)


def to_hf(folder: Path) -> None:
    kind = "uer" if (folder / "model.bin").is_file() else "hf"
    convert(folder, folder.with_name("converted"), source_kind=kind)


def to_uer(folder: Path) -> None:
    convert(folder, folder.with_name("converted"), source_kind="hf", target_kind="uer")


VERBS: dict[str, Callable[[Path], object]] = {
    "doctor": lambda folder: examine(str(folder), texts=["中国的首都是北[MASK]"]),
    "convert": to_hf,
    "convert --to uer": to_uer,
    "finetune": finetune,
    "predict": Predictor.open,
    "pretrain --from": read_checkpoint,
}


def outcome(name: str, folder: Path) -> Exception | None:
    """Run a verb; return what it raises."""
    try:
        VERBS[name](folder)
    except Exception as error:  # noqa: BLE001  any other than ClueBenchError is what the test is about
        return error
    finally:
        shutil.rmtree(folder.with_name("converted"), ignore_errors=True)
    return None


def check(name: str, folder: Path, what: str) -> None:
    """Only ClueBenchError may come out of a verb, in one line, with a hint, and without torch's advice."""
    error = outcome(name, folder)
    if error is None:
        return
    shown = "".join(traceback.format_exception(error))
    assert isinstance(error, ClueBenchError), f"{name}, {what}: {shown[-3000:]}"
    assert error.hint, f"{name}, {what}: {error}"
    assert len(f"{error}\n{error.hint}".splitlines()) == 2, f"{name}, {what}: {error}"
    assert "weights_only=False" not in shown
    assert "weights_only`" not in shown


def run(seed: int, sound: dict[str, Path], folder: Path, *, verbs: int) -> None:
    """Damage one file of one checkpoint, and open it with some verbs."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    source = draw.choice(list(MAKE))
    shutil.copytree(sound[source], folder)
    what = f"seed {seed}, {source}, {damage(folder, draw)}"
    for name in draw.sample(list(VERBS), verbs):
        check(name, folder, what)
    shutil.rmtree(folder)


@pytest.mark.parametrize("first", range(0, FEW, 25))
def test_a_damaged_file_is_one_clear_line(first, sound, tmp_path):
    for seed in range(first, first + 25):
        run(seed, sound, tmp_path / "model", verbs=2)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, CASES, 100))
def test_thousands_of_damaged_files_are_one_clear_line(first, sound, tmp_path):
    for seed in range(first, first + 100):
        run(1_000_000 + seed, sound, tmp_path / "model", verbs=3)


@pytest.mark.parametrize("source", MAKE)
def test_a_sound_file_opens(source, sound):
    """Or the others would pass on anything."""
    if source == "uer":
        pytest.skip("a file of UER-py is for convert alone")
    if source == "bert, wrapped":
        with pytest.raises(ClueBenchError, match="'model'") as caught:
            examine(str(sound[source]))
        assert "convert" in caught.value.hint
        return
    examine(str(sound[source]))
    finetune(sound[source])


@pytest.mark.parametrize(
    ("contents", "named"), [(b"", "empty"), (PAGE, "web page"), (POINTER, "Git LFS"), (b"PK\x03\x04cut", "damaged")]
)
@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors", "config.json"])
def test_what_was_saved_in_place_of_a_file_is_said(contents, named, file, sound, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(sound["bert"], folder)
    if file == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    (folder / file).write_bytes(contents)
    with pytest.raises(ClueBenchError) as caught:
        examine(str(folder))
    assert file in caught.value.message
    assert named in caught.value.message or file == "config.json"


def test_a_pickle_is_listed_as_the_same_weights_in_safetensors_are(sound):
    entries = open_files([sound["bert, zip"] / "pytorch_model.bin"]).shapes
    legacy = open_files([sound["bert, legacy pickle"] / "pytorch_model.bin"]).shapes
    wrapped = open_files([sound["bert, wrapped"] / "pytorch_model.bin"])
    assert entries == legacy == wrapped.shapes
    assert wrapped.wrapper == "model"


def test_an_index_cannot_lead_out_of_its_folder(sound, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(sound["bert"], folder)
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"weight_map": {"a": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ClueBenchError, match=r"outside\.safetensors, not there"):
        read_checkpoint(folder)

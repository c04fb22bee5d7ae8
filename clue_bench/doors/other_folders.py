"""Name what is no checkpoint folder of ours: a run without weights, or a folder that another program left.

Input: a path that is there and has no config.json. Output: a message that says what it seems to be, and a hint: what to
type to get a checkpoint out of it. Nothing is loaded; of other programs' files only names and small JSON are read.
"""

import re
from pathlib import Path

from clue_bench.doors.records import CHECKPOINT, is_running, read_record, record_paths
from clue_bench.numbers import article, counted
from clue_bench.weights import CONFIG
from clue_bench.weights.configuration import read_object
from clue_bench.weights.frameworks import of_another_framework

ADAPTER = "adapter_config.json"
_STEPS = re.compile(r"checkpoint-(\d+)")  # folders of transformers' Trainer


def what_it_is(path: Path) -> tuple[str, str]:
    """Return message and hint for a path that is no checkpoint folder: what it seems to be, and how to open it."""
    pickles = [path] if path.suffix in (".bin", ".pt", ".pth") else sorted(path.glob("*.bin"))
    if path.is_file() and (path.parent / CONFIG).is_file():
        return f"{path}: a file of a checkpoint, expected its folder", f"give {path.parent}"
    if known := of_a_library(path):
        return known
    if pickles:
        what = f"{path}: weights of PyTorch without a {CONFIG}, as UER-py writes them"
        convert = f"clue-bench convert {pickles[0]} converted --from uer --config CONFIG.json --vocab vocab.txt"
        return what, f"run {convert}, then give converted"
    if path.suffix == ".pdparams" or any(path.glob("*.pdparams")):
        return f"{path}: weights of PaddleNLP", f"run clue-bench convert {path} converted --from paddle"
    if path.name.endswith((".ckpt", ".ckpt.index", ".ckpt.meta")) or ".ckpt.data-" in path.name:
        checkpoint = path.with_name(path.name.partition(".ckpt")[0] + ".ckpt")
        return f"{path}: a TensorFlow checkpoint", f"run clue-bench convert {checkpoint} converted --from tf"
    if path.is_file():
        return f"{path}: a file, expected a checkpoint folder", "give the folder that holds config.json and the weights"
    records = record_paths(path)
    if len(records) == 1 and read_record(records[0]).status != "completed":
        if is_running(path, read_record(records[0])):
            return f"{path}: a run that is going on, without a checkpoint", "wait for its end"
        status = read_record(records[0]).status
        return (
            f"{path}: {article(status)} run, without a checkpoint",
            "type the command of that run again: it continues",
        )
    if len(records) == 1 and getattr(read_record(records[0]).results, "weights_dropped", False):
        again = f"run clue-bench finetune with this run's settings and --out {path}, to train the same ones again"
        return f"{path}: the weights of this run were dropped", again
    runs = [each.parent.parent for each in sorted(path.glob(f"*/{CHECKPOINT}/{CONFIG}"))]
    if runs:
        return (
            f"{path}: {counted(len(runs), 'folder of a run', 'folders of runs')}, and no checkpoint of its own",
            f"give one of them, e.g. {runs[0]}",
        )
    return f"{path}: no {CONFIG}, so no checkpoint folder", "give the --out of a pretraining run"


def of_a_library(path: Path) -> tuple[str, str] | None:
    """Return message and hint for a folder that a library for training leaves, None if it is none of them."""
    if (path / ADAPTER).is_file():
        return _adapter(path)
    if other := of_another_framework(path):
        return other
    steps = {int(found[1]): each for each in path.glob("checkpoint-*/") if (found := _STEPS.fullmatch(each.name))}
    usable = [number for number in sorted(steps) if any((steps[number] / name).is_file() for name in (CONFIG, ADAPTER))]
    if usable:
        what = counted(len(usable), "folder of a step", "folders of steps")
        return f"{path}: a Trainer's output, {what} and no {CONFIG} of its own", f"give the newest: {steps[usable[-1]]}"
    if (path / "modules.json").is_file():
        inner = sorted(each.parent for each in path.glob(f"*_Transformer/{CONFIG}"))
        if inner:
            return f"{path}: a model of sentence-transformers, whose encoder lies in a folder of it", f"give {inner[0]}"
        return (
            f"{path}: a model of sentence-transformers without a transformer in it",
            f"give a model that has a {CONFIG} or a 0_Transformer, in one piece",
        )
    return None


def _adapter(path: Path) -> tuple[str, str]:
    """Return what to do about the weights that PEFT trained beside a model: merge them into it."""
    stated = read_object(path / ADAPTER).get("base_model_name_or_path")
    base = stated if isinstance(stated, str) and stated.isprintable() and "'" not in stated else "BASE"
    classes = "AutoModelForSequenceClassification (or the class that it was trained with)"
    return (
        f"{path}: an adapter of PEFT (LoRA or the like) for {base}, not a whole model",
        f"merge it: PeftModel.from_pretrained({classes}.from_pretrained('{base}'), '{path}').merge_and_unload()"
        f".save_pretrained('{path}-merged'); save the tokenizer there, too, and give {path}-merged",
    )

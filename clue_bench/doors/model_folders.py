"""Where a model lies that is called by a folder, the folder of a run, a name or an id of the hub; torch is not needed.

Input: what the user typed. Output: a checkpoint folder, or an error that says what is there instead. A name that can
only be a path is never looked for on the hub.
"""

import difflib
from pathlib import Path

from clue_bench.cards import builtin_folder
from clue_bench.doors.hub import HUB_ID, hub_copy
from clue_bench.doors.other_folders import of_a_library, what_it_is
from clue_bench.doors.records import CHECKPOINT, read_record, record_paths
from clue_bench.errors import NEAR, ClueBenchError
from clue_bench.files import is_file
from clue_bench.weights import CONFIG, PICKLE, WEIGHTS
from clue_bench.weights.configuration import read_config

MAX_NAMED = 5  # folders in an error


def shipped_models() -> dict[str, Path]:
    """Return the folders of the models that come with the package, by name."""
    found = sorted((builtin_folder("pretrain") / "checkpoints").glob(f"*/{CONFIG}"))
    return {path.parent.name: path.parent for path in found}


def find_folder(model: str | Path) -> Path:
    """Return the checkpoint folder that `model` names: a `local_folder`, or the copy of a hub model.

    Raises ClueBenchError if it is neither, or the hub cannot be reached.
    """
    if (found := local_folder(model)) is not None:
        return found
    folder = hub_copy(str(model))
    if not (folder / CONFIG).is_file():
        raise ClueBenchError(f"{model}: the hub's copy has no {CONFIG}", "give the id of a model")
    _refuse_others(folder)
    return folder


def local_folder(model: str | Path) -> Path | None:
    """Return the checkpoint folder that `model` names on this machine; None if it can only be an id of the hub.

    This is itself, a run's checkpoint/, or a model that comes with the package (unless a folder here has its name).
    Raises ClueBenchError for something else that is here, and for a path that is not.
    """
    path = Path(model)
    if (path / CHECKPOINT / CONFIG).is_file():
        return path / CHECKPOINT
    if (path / CONFIG).is_file():
        _refuse_others(path)
        return path
    records = record_paths(path)
    if len(records) == 1 and read_record(records[0]).model.is_floor:
        raise ClueBenchError(
            f"{path}: the run of a floor, which leaves predictions and no checkpoint", "give the run of a model"
        )
    if path.is_dir() and any(path.glob("*.ckpt.index")):
        raise ClueBenchError(
            f"{path}: no {CONFIG}, so a TensorFlow checkpoint", f"run clue-bench convert {path} DST --from tf"
        )
    if path.exists() or path.with_name(f"{path.name}.index").is_file():
        raise ClueBenchError(*what_it_is(path))
    if str(model) in (shipped := shipped_models()):
        return shipped[str(model)]
    is_below = len(path.parts) > 1 and Path(path.parts[0]).is_dir()
    if is_below or not HUB_ID.fullmatch(str(model)):
        raise _no_folder(str(model), path, is_id=bool(HUB_ID.fullmatch(str(model))))
    return None


def _no_folder(model: str, path: Path, *, is_id: bool) -> ClueBenchError:
    """Return the error for a path that is not there, with what lies beside it; `is_id`: a hub's may be spelled so."""
    there = next((folder for folder in path.parents if folder.is_dir()), Path())
    try:
        names = sorted(each.name for each in there.iterdir() if each.is_dir())
    except OSError:  # a folder that may be entered, but not listed
        names = []
    missing = path.parts[len(there.parts)] if path.name else ""
    close = difflib.get_close_matches(missing, names, n=MAX_NAMED, cutoff=NEAR)
    models = [name for name in names if any(is_file(there / name / each / CONFIG) for each in ("", CHECKPOINT))]
    if close:
        message = f"{model}: no such folder; {there} has {', '.join(close)}"
    elif models:
        more = ", …" if len(models) > MAX_NAMED else ""
        message = f"{model}: no such folder; of models, {there} has {', '.join(models[:MAX_NAMED])}{more}"
    else:
        message = f"{model}: no such folder, expected a checkpoint folder"
    hint = f"give a checkpoint folder, {', '.join(shipped_models())}, or an id like uer/chinese_roberta_L-2_H-128"
    if is_id:
        folder = path.parts[0]
        hint = f"give a checkpoint folder; if the hub's {model} is meant, work where no folder is called {folder}"
    return ClueBenchError(message, hint)


def _refuse_others(folder: Path) -> None:
    """Raise ClueBenchError if the config.json is UER-py's, which names a width its own way, or no weights PyTorch's."""
    has_weights = any(path for name in (WEIGHTS, PICKLE) for path in folder.glob(f"{name}*"))
    if not has_weights and (known := of_a_library(folder)):
        raise ClueBenchError(*known)
    values = read_config(folder / CONFIG)
    if "emb_size" in values and "model_type" not in values:
        raise ClueBenchError(
            f"{folder}: a folder of UER-py, whose {CONFIG} has no model_type",
            f"run clue-bench convert {folder} {folder}-hf --from uer, then give {folder}-hf",
        )

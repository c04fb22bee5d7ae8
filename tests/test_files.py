"""A file is written completely or not at all."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from clue_bench.errors import ClueBenchError
from clue_bench.files import expanded, held, is_held, name_part, replacing, staging, write_json, write_text, writing


def files(folder: Path) -> list[str]:
    """Return the names of everything under `folder`, hidden files too."""
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("before", [None, b"old"], ids=["new file", "existing file"])
def test_a_finished_file_replaces_the_old_one(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert (path.read_bytes() if path.exists() else None) == before
    assert path.read_bytes() == b"new"
    assert files(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("written", [None, b"", b"half"], ids=["before writing", "empty", "half written"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException], written: bytes | None
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error, match="midway"), replacing(path) as temporary:  # noqa: PT012
        if written is not None:
            temporary.write_bytes(written)
        raise error("midway")
    assert path.read_bytes() == b"old"
    assert files(tmp_path) == ["file"]


def test_what_a_dead_process_left_half_written_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    parts = [tmp_path / f".file.{number}.tmp" for number in (process.pid, 1)]
    folders = [tmp_path / f".folder.{number}.tmp" for number in (process.pid, 1)]
    for file, folder in zip(parts, folders, strict=True):
        file.write_bytes(b"half")
        (folder / "inside").mkdir(parents=True)
    write_text(tmp_path / "file", "whole")
    with staging(tmp_path / "folder") as temporary:
        temporary.rename(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".file.1.tmp", ".folder.1.tmp", "file", "folder"]


def test_a_write_that_fails_names_the_file(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left") as caught, replacing(tmp_path / "file"):
        os.write(full, b"x")
    os.close(full)
    assert caught.value.filename == str(tmp_path / "file")


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_target_that_cannot_be_replaced_leaves_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_text(tmp_path / "folder", "text")
    assert files(tmp_path) == ["folder"]


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "file", "text")
    assert files(tmp_path) == ["a", "b", "file"]


def test_text_is_utf8_with_the_line_ends_it_has(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "中文\nzwei\r\n")
    assert (tmp_path / "file").read_bytes() == "中文\nzwei\r\n".encode()


@pytest.mark.parametrize("text", ["lone surrogate \ud83d", "中" * 10_000 + "\udc00"])
def test_text_that_cannot_be_encoded_leaves_the_old_file(tmp_path: Path, text: str) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "file", text)
    assert (tmp_path / "file").read_text() == "old"
    assert files(tmp_path) == ["file"]


def test_json_is_readable_for_people_and_programs(tmp_path: Path) -> None:
    value = {"名字": "中文", "list": [1, 2.5, None, True], "nested": {"a": "“引号”\n"}}
    write_json(tmp_path / "file.json", value)
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "名字" in text
    assert text.endswith("}\n")


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "file.json", {"new": object()})
    assert json.loads((tmp_path / "file.json").read_text()) == {"old": 1}
    assert files(tmp_path) == ["file.json"]


def test_a_name_may_hold_chinese_and_dots(tmp_path: Path) -> None:
    write_text(tmp_path / "结果.v1.record.json", "text")
    assert files(tmp_path) == ["结果.v1.record.json"]


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
def test_a_disk_that_is_full_is_an_error_that_names_the_file(kind: str, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    tensors, path = {"a": torch.zeros(2**18)}, tmp_path / "weights"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    try:
        with pytest.raises(ClueBenchError, match="weights: not written") as caught, writing(path):
            save_file(tensors, path) if kind == "safetensors" else torch.save(tensors, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert "free space" in caught.value.hint


def test_a_bug_while_writing_stays_one(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ours"), writing(tmp_path / "file"):
        raise RuntimeError("ours")


def test_whether_a_lock_is_held_can_be_asked_without_taking_it(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    assert files(tmp_path) == []
    with held(tmp_path / "lock"):
        assert is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")


def test_a_part_of_a_name_is_cut_between_characters() -> None:
    assert name_part("模型" * 40).encode() == ("模型" * 40).encode()[:99]
    assert name_part("tiny") == "tiny"


def test_a_path_in_the_home_folder_is_as_a_shell_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found = [expanded(path) for path in ("~/甲", "~", "甲~", "甲/~")]
    assert found == [tmp_path / "甲", tmp_path, Path("甲~"), Path("甲/~")]
    with pytest.raises(ClueBenchError, match="no home folder of ~nobody-of-that-name"):
        expanded("~nobody-of-that-name/甲")

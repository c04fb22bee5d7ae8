"""Build a corpus folder (door 1, `shards`) from raw text, in parallel, resumably, in bounded memory.

1. Read documents and gather them into units of about UNIT_CHARACTERS (deterministic: the text alone decides).
2. Worker processes tokenise one unit each (`tokenise`), and write one shard each; a single worker is this process.
3. The manifest comes last.

A build that was interrupted reads the text again, which is cheap, and makes only the shards that are not there yet;
a shard whose text differs from what it was made from is an error, not a silent mixture.
"""

import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from clue_bench import files
from clue_bench.corpus.read import TEXT_FIELD, Tally, find_inputs, read_documents
from clue_bench.corpus.repeats import RepeatCounter
from clue_bench.corpus.sample import Sample
from clue_bench.corpus.tokenise import Segmenter, tokenise
from clue_bench.doors import shards
from clue_bench.errors import ClueBenchError
from clue_bench.training.spawning import hidden_script
from clue_bench.vocab import TextEncoder, Vocabulary, read_vocabulary

UNIT_CHARACTERS = 4 * 2**20  # about 12 MB of Chinese text and 8 MB of ids a shard


@dataclass(frozen=True)
class Progress:
    """The progress of a build. Bytes count the input files as stored on disk; done are those of finished shards."""

    bytes_done: int
    bytes_total: int
    shards_begun: int
    shards_done: int
    shards_found: int
    tokens: int


@dataclass(frozen=True)
class Unit:
    """The text of one shard: UTF-8, lines as they were read, a blank line after each document."""

    index: int
    text: bytes
    split_documents: int
    split_lines: int

    @property
    def text_sha256(self) -> str:
        """Return the hash of the unit's text."""
        return hashlib.sha256(self.text).hexdigest()


def build_corpus(
    texts: list[Path],
    *,
    vocabulary: Path,
    out: Path,
    workers: int,
    words: Segmenter | None = None,
    text_field: str = TEXT_FIELD,
    drop_repeats: shards.Droppable | None = None,
) -> Iterator[Progress]:
    """Build `out` from `texts` (files or folders) with `workers` processes; yield progress as shards begin and end.

    The shards are the same for any number of workers. `words` names what cuts the text into words; without it the
    vocabulary says which tokens start one. `text_field` is the key of the text in JSON, or its column in tables.
    `drop_repeats` leaves out documents that equal an earlier one, or also paragraphs; without it they are counted.
    Raises ClueBenchError for unreadable input, or a folder that holds another build.
    """
    files, _ = find_inputs(texts)
    vocab = read_vocabulary(vocabulary)
    vocab.require_encoder()
    _claim(out, vocab, files, words=words or vocab.word_starts, text_field=text_field, drop_repeats=drop_repeats)
    total = sum(file.stat().st_size for file in files)
    tally = Tally()
    state = Progress(0, total, 0, 0, 0, 0)
    finished: list[shards.Shard] = []
    ends: list[int] = [0]  # of the units in the files, in bytes
    repeats, sample = RepeatCounter(drop_repeats), Sample()

    def units() -> Iterator[Unit]:
        for unit in _units(files, tally, text_field, repeats):
            ends.append(tally.bytes_read)
            sample.add(unit.text)
            yield unit

    with _leaving_no_empty_build(out):
        for shard, found in _made(units(), vocab, out, workers, words):
            state = replace(state, shards_begun=len(ends) - 1)
            if shard is not None:
                finished.append(shard)
                state = replace(
                    state,
                    # Readers read ahead: the end of the last file may be reached while shards are under way.
                    bytes_done=min(state.bytes_done + ends[shard.index + 1] - ends[shard.index], total - 1),
                    shards_done=state.shards_done + 1,
                    shards_found=state.shards_found + found,
                    tokens=state.tokens + shard.counts.tokens,
                )
            yield state
        if shards.part_path(out, len(finished), "json").is_file():
            raise _changed_text(out, len(finished))
        if not state.tokens:
            raise ClueBenchError(
                f"no text in {', '.join(map(str, texts))}: every document is empty after cleaning",
                "give files that hold text",
            )
    finished.sort(key=lambda shard: shard.index)
    inputs = [file.name for file in files]
    shards.write_sample(out, sample.lines)
    shards.write_manifest(
        out, shards=finished, inputs=inputs, vocabulary=vocab, word_starts=words, repeats=repeats.found
    )
    yield replace(state, bytes_done=total)


@contextmanager
def _leaving_no_empty_build(out: Path) -> Iterator[None]:
    """Remove plan and shards of a build that ends with an error before its first token: the folder is free again."""
    is_new = not any(out.glob("shard-*"))
    try:
        yield
    except ClueBenchError:
        if is_new and not any(path.stat().st_size for path in out.glob("shard-*.ids")):
            for path in (out / shards.PLAN, *out.glob("shard-*")):
                path.unlink(missing_ok=True)
            with suppress(OSError):  # it holds something else
                out.rmdir()
        raise


def _units(files: list[Path], tally: Tally, text_field: str, repeats: RepeatCounter) -> Iterator[Unit]:
    """Group documents into units of about UNIT_CHARACTERS, without the repeats that are to be dropped."""
    documents: list[list[str]] = []
    size = index = 0
    counted = (0, 0)

    def unit(kept: list[list[str]]) -> Unit:
        lines = [line for document in kept for line in (*document, "")]
        text = "\n".join([*lines, ""]).encode()
        return Unit(index, text, tally.split_documents - counted[0], tally.split_lines - counted[1])

    for document in read_documents(files, longest=UNIT_CHARACTERS, tally=tally, text_field=text_field):
        documents.append(document.lines)
        size += document.size
        if size >= UNIT_CHARACTERS:
            if kept := repeats.kept(documents):
                yield unit(kept)
                counted, index = (tally.split_documents, tally.split_lines), index + 1
            documents, size = [], 0
    if kept := repeats.kept(documents):
        yield unit(kept)


def _claim(out: Path, vocab: Vocabulary, inputs: list[Path], **settings: str | None) -> None:
    """Write what this folder is being built from, or check that it is the same as before."""
    plan = {
        "vocabulary_sha256": vocab.sha256,
        "inputs": [file.name for file in inputs],
        "unit": UNIT_CHARACTERS,
        **settings,
    }
    path = out / shards.PLAN
    if path.is_file():
        # Plans were once written without these.
        before = {"words": "wordpiece", "text_field": TEXT_FIELD, "drop_repeats": None, **_read_plan(path)}
        differing = [key for key in plan if before.get(key) != plan[key]]
        if differing and any(out.glob("shard-*.json")):
            raise ClueBenchError(
                f"{out} holds a corpus built from another {differing[0]}: {before.get(differing[0])}",
                "give another --out, or delete the folder",
            )
        if differing:  # a build that ended before its first shard, as for want of --text-field
            files.write_json(path, plan)
    elif out.exists() and (not out.is_dir() or not all(map(files.is_temporary, out.iterdir()))):
        raise ClueBenchError(f"{out} is not empty and no corpus folder", "give another --out")
    else:
        files.write_json(path, plan)


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ClueBenchError(f"{path}: damaged: {error}", "delete the folder and build again") from error
    return plan


def _made(
    units: Iterator[Unit], vocab: Vocabulary, out: Path, workers: int, words: Segmenter | None
) -> Iterator[tuple[shards.Shard | None, bool]]:
    """Yield each unit's shard and whether it was there already, and None when a shard is begun.

    At most `workers` + 1 units are in memory.
    """
    if workers == 1:
        yield from _made_here(units, vocab, out, words)
        return
    pending: set[Future[shards.Shard]] = set()
    # Not fork: the parent may hold threads (progress display, tokenizer) whose locks a forked child would inherit.
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(vocab, words)) as pool:
        try:
            for unit in units:
                shard = _found(unit, out)
                if shard is not None:
                    yield shard, True
                    continue
                with hidden_script():  # the pool starts a process when there is work for it
                    pending.add(pool.submit(_make, unit, out))
                yield None, False
                if len(pending) > workers:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from ((future.result(), False) for future in done)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from ((future.result(), False) for future in done)
        except BrokenProcessPool as error:
            raise ClueBenchError(
                "a worker process was ended from outside, perhaps because memory ran out",
                "run the same command again with fewer --workers: it continues",
            ) from error
        finally:
            for future in pending:
                future.cancel()


def _made_here(
    units: Iterator[Unit], vocab: Vocabulary, out: Path, words: Segmenter | None
) -> Iterator[tuple[shards.Shard | None, bool]]:
    """Do the same in this process."""
    tools: dict[str, Any] = {}
    for unit in units:
        shard = _found(unit, out)
        if shard is not None:
            yield shard, True
            continue
        yield None, False
        tools = tools or _tools(vocab, words)
        yield _write(unit, out, **tools), False


def _found(unit: Unit, out: Path) -> shards.Shard | None:
    """Return the unit's shard if it is there. Raises ClueBenchError if it was made from other text."""
    shard = shards.finished_shard(out, unit.index)
    if shard is not None and shard.text_sha256 != unit.text_sha256:
        raise _changed_text(out, unit.index)
    return shard


def _changed_text(out: Path, index: int) -> ClueBenchError:
    path = shards.part_path(out, index, "json")
    return ClueBenchError(f"{path}: the text it was made from has changed", f"delete {out} and build again")


_worker: dict[str, Any] = {}  # set once in each worker process: a tokenizer is slow to build and cannot be passed


def _start(vocab: Vocabulary, words: Segmenter | None) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core per worker; threads on top would only compete
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the workers
    _worker.update(_tools(vocab, words))


def _tools(vocab: Vocabulary, words: Segmenter | None) -> dict[str, Any]:
    """Return what `_write` needs for every unit."""
    encoder = vocab.encoder(special_tokens=False)  # "[MASK]" in a text is text: shards hold no special tokens
    return {"vocab": vocab, "encoder": encoder, "words": words}


def _end_with_parent() -> None:
    """Wait for the parent to end, because a killed parent cannot end its workers."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(unit: Unit, out: Path) -> shards.Shard:
    return _write(unit, out, **_worker)


def _write(unit: Unit, out: Path, *, vocab: Vocabulary, encoder: TextEncoder, words: Segmenter | None) -> shards.Shard:
    """Tokenise the unit and write its shard."""
    parts = tokenise(unit.text.decode(), vocab, encoder, words)
    parts["counts"].split_documents = unit.split_documents
    parts["counts"].split_lines = unit.split_lines
    return shards.write_shard(out, unit.index, text_sha256=unit.text_sha256, **parts)

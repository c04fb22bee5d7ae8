"""Kill a command at each of its file-system events, type it again, and compare with a run that nobody killed.

    python crashes.py INPUTS WORK POINTS WORD…

The command `clue-bench WORD…` runs in WORK, a folder that is made anew each time and holds what INPUTS holds. POINTS is
how many of its events are tried, evenly spread, "all", or so many "random" moments. Each run is a fork of this process,
which has imported what the command needs: so a try takes as long as the work alone. Prints one JSON object: the
`events` of the whole run, the `kills` that were made, and `faults`, a line each.
"""

import contextlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod"}
IMPORTED = re.compile(r"^(clue_bench\.|torch$|numpy$|pandas$|transformers$|sklearn\.|safetensors|tokenizers$|scipy\.)")
TIMES = re.compile(r"seconds|per_second|_at$|^created$|^mfu$|^hfu$|memory")  # keys of what no two runs share
STRAY = re.compile(r"^\..*\.(tmp|previous)$")
SECONDS = 120  # after which a run hangs


def fork(words, *, kill_at=None, kill_after=None):
    """Run the command in a child; return its status (negative: the signal), its output, its events and imports."""
    output, facts = Path("../output"), Path("../facts.json")
    facts.unlink(missing_ok=True)
    child = os.fork()
    if child:
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        found = json.loads(facts.read_text()) if facts.is_file() else {"events": 0, "modules": []}
        return code, output.read_text(errors="replace"), found["events"], found["modules"]
    signal.alarm(SECONDS)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    num_events = 0

    def watch(event, arguments):
        nonlocal num_events
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in EVENTS) and not str(arguments[0]).startswith("/dev"):
            num_events += 1
            if num_events == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    sys.argv = ["clue-bench", *words]
    code = 0
    try:
        from clue_bench.cli import main

        main()
    except SystemExit as exited:
        code = exited.code or 0
    finally:
        sys.stdout.flush()
        counted = num_events
        facts.write_text(json.dumps({"events": counted, "modules": list(sys.modules)}))
        os._exit(code if isinstance(code, int) else 1)


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if not TIMES.search(key)}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def contents(path):
    """Return what of a file must be the same in every run."""
    data = path.read_bytes()
    if path.name.endswith((".record.json", "provenance.json")):
        return without_times(json.loads(data))
    if path.name == "metrics.jsonl":
        return [without_times(json.loads(line)) for line in data.splitlines()]
    if path.suffix in (".pt", ".svg", ".html"):  # states and pictures hold times
        return len(data) > 0
    return data


def outcome():
    """Return every file below this folder but locks, with what must be the same."""
    places = [path for path in Path().rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path): contents(path) for path in places}


def main():
    inputs, work, points, *words = sys.argv[1:]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one process does it all, in one order
    inputs, work = Path(inputs).resolve(), Path(work).resolve()

    def afresh():
        os.chdir(work.parent)
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(inputs, work, symlinks=True)
        os.chdir(work)

    afresh()
    code, said, events, modules = fork(words)
    assert code == 0, said
    for name in modules:
        if IMPORTED.match(name):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
    afresh()
    started = time.monotonic()
    code, said, events, _ = fork(words)
    assert code == 0, said
    seconds = time.monotonic() - started
    expected = outcome()
    number, _, kind = points.partition(" ")
    if kind:
        draw = random.Random(" ".join(words))
        kills = [{"kill_after": draw.uniform(0, seconds)} for _ in range(int(number))]
    else:
        wanted = events if number == "all" else min(events, int(number))
        kills = [{"kill_at": 1 + at * events // wanted} for at in range(wanted)]
    faults, made = [], 0
    for kill in kills:
        afresh()
        code, said, _, _ = fork(words, **kill)
        made += code == -signal.SIGKILL
        where = f"{kill}, killed" if code == -signal.SIGKILL else f"{kill}, ended with {code}"
        code, said, _, _ = fork(words)
        is_whole = "exists" in said and outcome() == expected  # it was done but for the end of the process, and says so
        if code and not is_whole:
            faults.append(f"{where}: typed again: {code}: {said[-1500:]}")
            continue
        found = outcome()
        for name in sorted(found.keys() | expected.keys()):
            if found.get(name) != expected.get(name):
                what = "left" if name not in expected else "missing" if name not in found else "another"
                faults.append(f"{where}: {what}: {name}")
        strays = [str(path) for path in Path().rglob("*") if STRAY.match(path.name)]
        faults += [f"{where}: left: {stray}" for stray in strays if f"{where}: left: {stray}" not in faults]
    print(json.dumps({"events": events, "kills": made, "faults": faults}))  # noqa: T201


if __name__ == "__main__":
    main()

"""Let a loop finish its step before it stops, because it was asked to.

Input: SIGINT (Ctrl-C) and SIGTERM (kill, Slurm, a machine that is shut down). Output: a flag that the loop reads
between two steps. Outside of the main thread, and where a process ignores a signal, nothing changes.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SECONDS_OF_ONE_REQUEST = 1.0  # shells and torchrun pass on a signal that the process has had already
WORDS = "stopping after this step, and saving; Ctrl-C again stops at once and loses what is not saved"


@dataclass
class StopRequest:
    """Whether a stop was asked for."""

    is_made: bool = False


@dataclass
class Notice:
    """Whether `WORDS` are to be said, and whether a live display says them: it would draw over what is written."""

    is_due: bool = False
    is_drawn: bool = False


NOTICE = Notice()


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn the first signal into a request while the block runs; another one, a second later, is KeyboardInterrupt.

    Of several processes none is interrupted in the middle of a step, since the others would wait for it.
    """
    request = StopRequest()
    first = 0.0

    def handle(number: int, frame: Any) -> None:
        nonlocal first
        now = time.monotonic()
        if not request.is_made:
            request.is_made, first = True, now
            if number == signal.SIGINT:
                NOTICE.is_due = True
                if not NOTICE.is_drawn:
                    os.write(2, f"\n{WORDS}\n".encode())  # print could be interrupted in the middle of itself
        elif now - first > SECONDS_OF_ONE_REQUEST and int(os.environ.get("WORLD_SIZE", "1")) == 1:
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handle)
    try:
        yield request
    finally:
        NOTICE.is_due = False
        for number, handler in before.items():
            signal.signal(number, handler)

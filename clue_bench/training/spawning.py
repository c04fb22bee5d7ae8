"""Start processes from a script that does not guard its top level by `if __name__ == "__main__"`.

A child process imports the script that started its parent, because functions and values of the script may be sent to
it. Without the guard the child would do everything that the script does, start processes included, and Python refuses
that. Our processes are sent nothing of the script, so they need not import it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

_lock = Lock()  # of two threads, the second would keep what the first has hidden


@contextmanager
def hidden_script() -> Iterator[None]:
    """Hide from child processes that start in the block (method "spawn") which script or module is the main one."""
    with _lock:
        main = vars(sys.modules["__main__"])
        kept: dict[str, Any] = {name: main[name] for name in ("__spec__", "__file__") if name in main}
        main.pop("__file__", None)
        main["__spec__"] = None
        try:
            yield
        finally:
            main.update(kept)

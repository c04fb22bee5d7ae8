"""The program `clue-bench`, and `python -m clue_bench`: it hears signals before the command line is imported."""

import signal
import sys

from clue_bench.errors import INTERRUPTED, STOPPED


def main() -> None:
    """Run the command line. Ends with STOPPED if it is stopped before there is one."""
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which every verb knows
    try:
        from clue_bench.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("{}\nhint: {}\n".format(*INTERRUPTED))
        sys.exit(STOPPED)
    run()


if __name__ == "__main__":
    main()

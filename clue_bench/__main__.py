"""The program `clue-bench`, and `python -m clue_bench`: it hears signals before the command line is imported."""

import signal
import sys


def main() -> None:
    """Run the command line. Ends with 130 if it is stopped before there is one."""
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which every verb knows
    try:
        from clue_bench.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\nhint: type the same command again\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()

"""Run the command line with `python -m clue_bench`."""

from clue_bench.cli import main

main()

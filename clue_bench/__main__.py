"""`python -m clue_bench`: the command line."""

from clue_bench.cli import main

main()

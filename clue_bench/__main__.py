"""`python -m clue_bench`: the command line."""

import sys

from clue_bench.cli import main

sys.exit(main())

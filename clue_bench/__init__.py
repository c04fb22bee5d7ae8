"""clue-bench: pretrain Chinese language models and say, in numbers one can defend, how good they are on CLUE.

Four rooms (`corpus`, `engine`, `finetune`, `board`) that never import each other and talk through three doors
(`shards`, `checkpoint`, `records`), each of which owns one versioned file format. See README, "Dive into the code".
"""

__version__ = "0.2.0"

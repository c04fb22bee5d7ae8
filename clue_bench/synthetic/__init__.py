"""A synthetic data set: what `clue-bench quickstart` trains on when no real data are named.

Input: a seed and the label names of the task cards. Output: a corpus file (`corpus.write_corpus`) and the data of
four tasks (`tasks.write_tasks`) in CLUE's formats; the same seed gives the same bytes on any machine.

Steps: word lists and templates (`words`, the .toml files) → one text or pair at a time (`sentences`) →
splits and documents (`tasks`, `corpus`). Every word was written for this project. The tasks can be learned by a very
small model, with some wrong labels mixed in; a score on them says that the pipeline works and nothing about CLUE.
"""

"""The verbs of `import clue_bench`, and of the command line, which calls nothing else.

Input: plain values: names, paths, frames, live models. Output: frozen results that print well. Each verb opens what it
is given, has a room do the work with a progress bar, and returns what came of it; the rooms know nothing of each other.
"""

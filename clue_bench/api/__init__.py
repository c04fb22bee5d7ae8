"""The functions of `import clue_bench`; the command line calls nothing else.

Input: plain values: names, paths, frames, live models. Output: frozen results that print well. Each function
opens its arguments, lets one package do the work under a progress bar, and returns the result; the packages do not know
each other.
"""

SHIPPED = "clue-bench-tiny"
"""The model that comes with the package (pretrain/checkpoints), for whoever names none."""

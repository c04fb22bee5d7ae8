"""Doors: the file formats through which rooms talk, one module each."""

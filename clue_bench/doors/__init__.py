"""Doors: the file formats through which packages exchange data, one module each."""

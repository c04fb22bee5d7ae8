"""Read weights, and translate their names between layouts."""

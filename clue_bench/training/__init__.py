"""A shelf: what both training loops stand on."""

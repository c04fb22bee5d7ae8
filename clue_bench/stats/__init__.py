"""A shelf: intervals and tests."""

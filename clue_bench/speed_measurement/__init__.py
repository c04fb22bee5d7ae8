"""A room beside the way: how fast models train and predict."""

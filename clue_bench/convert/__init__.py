"""Checkpoints of other toolkits to the Hugging Face layout and back: UER-py, TensorFlow."""

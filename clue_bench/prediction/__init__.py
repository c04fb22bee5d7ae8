"""A room beside the way: answers of fine-tuned models."""

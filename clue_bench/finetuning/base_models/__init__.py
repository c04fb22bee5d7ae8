"""What a fine-tuning run starts from: a pretrained or untrained network, its tokenizer, and a classifier on top."""

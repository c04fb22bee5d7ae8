"""The networks, written once for pretraining and fine-tuning, and their names in the Hugging Face layout."""

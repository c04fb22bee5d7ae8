"""The networks, written once for pretraining and fine-tuning."""

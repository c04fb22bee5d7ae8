"""Read weights, and translate their names between layouts."""

# The files of a folder in the Hugging Face layout.
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PICKLE = "pytorch_model.bin"

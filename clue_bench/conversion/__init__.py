"""Checkpoints of other toolkits to the Hugging Face layout and back: UER-py, TensorFlow.

Input: a file or folder of another toolkit, its configuration and vocabulary. Output: a checkpoint folder that
`transformers` loads with no code of ours, or a folder that UER-py loads. Each source is renamed and folded into the
Hugging Face layout (`uer`, `tensorflow`, `huggingface`: each gives a `Model`), what no model uses is put aside and
counted, the result is checked against the class of `transformers` (`model`), and written (`convert`).
"""

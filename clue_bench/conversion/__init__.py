"""Checkpoints of other toolkits to the Hugging Face layout and back: UER-py, TensorFlow.

Input: a file or folder of another toolkit, its configuration and vocabulary. Output: a checkpoint folder that
`transformers` loads with no code of ours, or a folder that UER-py loads. Steps: read safely (`read`), put aside what no
model uses and count it (`dead`), rename and fold into the Hugging Face layout (`uer`, `tensorflow`, `huggingface`: each
gives a `Model`), hold the result against the class of `transformers` (`verify`), write (`convert`).
"""

"""Measure how fast models train, fine-tune and predict: `session.measure` returns a record for each of them.

models        the models of `--model`: a checkpoint, or a recipe with untrained weights and random rows
session       the models take turns, each measurement in a process of its own
worker        that process, and the end that asks it
training      steps of the pretraining loop
finetuning    updates of the fine-tuning loop, and predictions
"""

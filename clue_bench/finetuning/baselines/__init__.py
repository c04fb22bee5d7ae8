"""The floor of a task: what simple models reach without any pretraining. No torch."""

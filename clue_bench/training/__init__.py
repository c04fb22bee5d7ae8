"""The parts that both training loops share."""

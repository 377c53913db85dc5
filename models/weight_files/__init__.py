"""Files of weights, read as tensors only."""

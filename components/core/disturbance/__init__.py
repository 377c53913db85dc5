"""Clips as worse microphones, rooms, lines and cameras would have recorded them: at test, or in training."""

"""The clips as extract made them: their index, and frames and sound read for networks."""

"""What training learns from: clips, batches of them, and who sees which in which step."""

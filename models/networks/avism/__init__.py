"""AVISM (arXiv 2310.18709, CVPR 2025), in the order in which data flows."""

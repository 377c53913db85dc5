"""AVSBench (arXiv 2207.05042, 2301.13190): its three data sets, read as published, and its scores."""

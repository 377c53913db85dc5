"""Weights to start from, made of thousands of clips composed in memory."""

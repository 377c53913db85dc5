"""Requests to language models: what is sent, to whom, what it may cost, and the answers that are kept."""

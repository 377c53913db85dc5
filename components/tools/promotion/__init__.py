"""Which model is the one to use: champion against challenger, decided by what was measured."""

"""Networks: use, train, start from, promote."""

"""What pages and films are made of."""

"""`avis predict`: videos from anywhere, one model, and what is written of each."""

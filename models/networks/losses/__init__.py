"""Training targets, matching and losses."""

"""A trained model on clips: the `predict` block, loading, moments of extracted clips, tracks."""

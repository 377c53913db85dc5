"""Training of the AVIS model."""

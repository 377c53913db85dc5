"""The first AVIS model (2023), with TPAVI fusion."""

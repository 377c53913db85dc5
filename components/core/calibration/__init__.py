"""How sure must a model be? Thresholds chosen on clips that it has not seen."""

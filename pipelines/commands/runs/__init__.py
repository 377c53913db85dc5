"""The pipeline's runs: settings, start, look."""

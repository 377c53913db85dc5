"""The tracked runs: as a table, compared, and as views in MLflow's pages."""

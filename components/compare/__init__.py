"""Stage `compare`: one page and one table over all models on the same test clips."""

"""Small tables that people's tools write and the checks read."""

"""Videos: what comes in, goes out and is removed."""

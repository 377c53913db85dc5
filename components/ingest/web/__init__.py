"""Web servers: one request for a file, and no way to addresses that nobody named."""

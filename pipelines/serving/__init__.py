"""`avis serve`: videos come over HTTP, wait their turn, and leave as films, masks and events."""

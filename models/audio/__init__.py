"""VGGish and its log-mel front end."""

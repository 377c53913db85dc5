"""What goes wrong: mask by mask, frame by frame, in tables and in words."""

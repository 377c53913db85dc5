"""What checks measure of pictures and sound."""

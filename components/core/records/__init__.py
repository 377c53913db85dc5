"""What crosses stage boundaries: annotations, results and their masks, checked when read."""

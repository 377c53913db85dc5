"""The extract stage: from video files to one frame per second and the sound that belongs to them."""

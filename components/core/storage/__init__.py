"""Where big files are kept: a folder of this machine or a bucket. Changes no byte of a result."""

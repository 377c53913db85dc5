"""What several formats need to read foreign files: fields, XML, archives, pictures, run-length codes."""

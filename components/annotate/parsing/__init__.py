"""What several formats need to read foreign files: fields, XML, pictures, run-length codes."""

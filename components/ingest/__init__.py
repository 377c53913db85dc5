"""The ingest stage: from a manifest to verified video files."""

"""The videos as they were ingested: manifest, index, names of clips, what must not come back."""

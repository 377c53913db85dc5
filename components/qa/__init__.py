"""qa: checks of annotations and media, a report to work through, and the gate before training."""

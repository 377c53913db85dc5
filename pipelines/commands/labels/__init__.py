"""Annotations: formats, checks, drafts."""

"""Manifests written from what a user has: ids, names, a playlist, a download of AVISeg."""

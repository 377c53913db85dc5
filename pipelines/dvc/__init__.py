"""The repository: DVC's graph, lock and cache, git, and child processes."""

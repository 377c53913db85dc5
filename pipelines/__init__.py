"""Who runs what when: the `avis` command line, and DVC's graph as Prefect tasks."""

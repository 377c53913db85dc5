"""`avis down`."""


def down() -> None:
    """End what `avis up` started."""
    from pathlib import Path

    from pipelines.dvc.graph import find_root
    from pipelines.servers.run import down

    print("All servers have ended." if down(find_root(Path.cwd())) else "No servers run here.")

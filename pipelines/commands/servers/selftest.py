"""`avis selftest`."""

import shutil
from typing import Annotated, Literal

import typer


def selftest(
    area: Annotated[
        Literal["servers", "strangers", "machine", "disk"] | None, typer.Option(help="Only these faults.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Faults tried at the same time.")] = 2,
) -> None:
    """Make faults on purpose, against what is set up here: disk, stores, servers, strangers' files."""
    from components.core.run.output_folder import alone_in
    from components.core.run.paths import Paths
    from pipelines.selftest.faults import try_all

    folder = Paths().root / "selftest.tmp"  # on the disk that the data lies on
    folder.mkdir(parents=True, exist_ok=True)
    verdicts = []
    with alone_in(folder, "avis selftest"):
        try:
            for row in try_all(folder / "faults", workers, area):
                verdicts.append(row.verdict)
                print(f"{row.verdict:10} {row.area:9} {row.fault}: {row.seen} ({row.duration_s:.1f} s)")
        finally:
            shutil.rmtree(folder / "faults", ignore_errors=True)
    folder.rmdir()
    failed = verdicts.count("FAILED")
    print(f"{verdicts.count('held')} of {len(verdicts)} held, {failed} failed")
    raise typer.Exit(1 if failed else 0)

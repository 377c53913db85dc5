"""`avis storage …`."""

from typing import Annotated

import typer

storage = typer.Typer(no_args_is_help=True, help="Is a bucket fit to hold videos, media and models?")


@storage.callback()
def _group() -> None:
    """With one command typer would leave out its name."""


@storage.command()
def check(url: Annotated[str, typer.Argument(help="s3://bucket, or s3://bucket/prefix.")]) -> None:
    """Try all that stages do with a bucket: rights, listing, checksums, parts, speed, clock."""
    from components.core.run.errors import AvisError
    from components.core.storage.bucket_check import check_bucket

    if not url.startswith("s3://"):
        raise AvisError("it is no bucket", where=url, fix="Name one: avis storage check s3://BUCKET/PREFIX")
    for found in check_bucket(url):
        print(f"ok  {found}", flush=True)
    print(f"{url} can be used.")

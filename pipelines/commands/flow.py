"""What the commands share that run a flow."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def _without_password(address: str | None) -> str | None:
    from components.core.run.git import refuse_password

    return refuse_password(address)


Repository = Annotated[
    str | None,
    typer.Option(
        help="What to clone and push to; else where this checkout comes from.", callback=_without_password
    ),
]


Revision = Annotated[str, typer.Option(help="A branch, tag or commit that was pushed.")]


def run_flow(flow: "Callable[[], State[Any]]") -> None:
    """Run a flow and print its message, or raise it."""
    from prefect.settings import PREFECT_API_URL

    from components.core.run.errors import AvisError

    if not PREFECT_API_URL.value():
        from pipelines.commands.temporary_server import TemporaryServer

        TemporaryServer()
    try:
        state = flow()
    except RuntimeError as error:  # no server to report to: nothing has run
        raise AvisError(f"Prefect did not start: {error}", fix="Try again.") from None
    if not state.is_completed():
        raise AvisError(state.message or "the run was stopped")
    print(state.message)

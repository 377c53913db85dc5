"""The first page of a machine's servers: links, health, disk, what is waiting. Run by uvicorn."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from components.core.reports.page import render_page
from pipelines.servers.health import disk, examine, queue
from pipelines.servers.services import shared_environment
from pipelines.servers.setup import HOST, setup_of

app = FastAPI(title="AVIS servers", openapi_url=None)
# Names of other sites may point to this machine: their pages must not read ours.
app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])


@app.get("/health")
def health() -> str:
    """Say that this page is there."""
    return "ok"


@app.get("/", response_class=HTMLResponse)
def first_page() -> str:
    """Look at all servers and show them."""
    root = Path.cwd()
    setup = setup_of(root)
    return render_page(
        "pipelines/servers/page.html",
        folder=str(root),
        servers=examine(root, setup),
        queue=queue(shared_environment(root, setup)["PREFECT_API_URL"]),
        disk=disk(root),
    )

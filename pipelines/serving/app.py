"""The server's addresses: a page, videos in, results out, metrics."""

import hmac
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.middleware.trustedhost import TrustedHostMiddleware

from components.core.reports.page import render_page
from components.core.run.disk import free_bytes
from components.core.text.terminal import plain
from components.tools.prediction.names import plain_name
from components.tools.prediction.one_video import SUMMARY
from pipelines.serving.jobs import OVER, RESULT, Job, Jobs, Refused, State

_ROOM_BYTES = 1_000_000_000  # beside the video itself
_SHORTEST_VIDEO = 16


def application(jobs: Jobs, keys: Mapping[str, str], most_bytes: int, hosts: Sequence[str] = ()) -> FastAPI:
    """Return the application.

    Args:
        jobs: closed when it ends.
        keys: owners by key; empty: nobody is asked, all are one owner.
        most_bytes: of one video.
        hosts: names by which the server is asked; others are refused. Empty: any.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        jobs.close()

    app = FastAPI(title="AVIS", docs_url=None, redoc_url=None, lifespan=life)
    if hosts:  # names of other sites may point to this machine: their pages must not use it
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    registry = CollectorRegistry()
    answers = Counter("avis_serve_videos", "Videos by how they were answered", ["answer"], registry=registry)
    sizes = Histogram(
        "avis_serve_bytes", "Sizes of videos", buckets=[10.0**n for n in range(4, 11)], registry=registry
    )
    for state in jobs.counts():
        gauge = Gauge(f"avis_serve_{state}", f"Videos: {state}", registry=registry)
        gauge.set_function(partial(_count, jobs, state))

    def owner_of(authorization: str | None) -> str:
        if not keys:
            return "all"
        given = (authorization or "").removeprefix("Bearer ").encode()
        for key, owner in keys.items():
            if hmac.compare_digest(key.encode(), given):
                return owner
        raise HTTPException(401, "name your key: Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"})

    def job_of(job_id: str) -> Job:
        job = jobs.get(job_id)
        if job is None or job.state == "receiving":
            raise HTTPException(404, "there is no such job, or it was over long ago")
        return job

    def told(job: Job) -> dict[str, Any]:
        folder = jobs.folder / job.id / RESULT
        done = folder.iterdir() if job.state == "done" else ()
        files = sorted(path.name for path in done if path.name != SUMMARY)  # it names this machine's folders
        return {
            "id": job.id,
            "state": job.state,
            "ahead": jobs.ahead(job),
            "status": job.status,
            "cause": plain(job.cause),
            "objects": job.objects,
            "sounds": job.sounds,
            "received_s": job.received_s,
            "started_s": job.started_s,
            "ended_s": job.ended_s,
            "files": {name: f"/jobs/{job.id}/{name}" for name in files},
        }

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page() -> str:
        return render_page("pipelines/serving/page.html", asks=bool(keys), most_mb=most_bytes // 1_000_000)

    @app.get("/health")
    def health() -> str:
        """Answer that the server is there."""
        return "ok"

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> bytes:
        """Return what Prometheus reads."""
        return generate_latest(registry)

    @app.post("/jobs", status_code=202)
    async def post(
        request: Request,
        authorization: Annotated[str | None, Header()] = None,
        x_filename: Annotated[str, Header(description="The video's name, for its page.")] = "video.mp4",
        sec_fetch_site: Annotated[str | None, Header(include_in_schema=False)] = None,
    ) -> dict[str, Any]:
        """Take a video, the body of the request; the answer has the id to ask for."""
        if sec_fetch_site not in (None, "same-origin", "none"):
            raise HTTPException(403, "another site's page asks for this")
        owner = owner_of(authorization)
        length = request.headers.get("content-length")
        expected = int(length) if length and length.isdecimal() else 0
        if expected > most_bytes:
            answers.labels("too large").inc()
            raise HTTPException(413, f"a video has at most {most_bytes} bytes here")
        if free_bytes(jobs.folder) < expected + _ROOM_BYTES:
            answers.labels("disk full").inc()
            raise HTTPException(507, "this server's disk is full: try again later")
        try:
            job = jobs.receive(owner, plain_name(x_filename))
        except Refused as error:
            answers.labels("queue full").inc()
            raise HTTPException(error.code, error.what, {"Retry-After": "60"}) from None
        arrived = False
        try:
            size = await _receive(request, jobs.file(job), most_bytes)
            if expected and size != expected:
                raise HTTPException(400, f"{size} bytes of {expected} arrived")
            if size < _SHORTEST_VIDEO:
                raise HTTPException(400, "the body is no video: send the file itself, as curl -T does")
            jobs.enqueue(job)
            arrived = True
        except OSError as error:
            raise HTTPException(507, f"it cannot be kept: {error.strerror}") from None
        finally:
            if not arrived:
                answers.labels("not received").inc()
                jobs.drop(job)
        answers.labels("taken").inc()
        sizes.observe(size)
        return told(job)

    @app.get("/jobs/{job_id}")
    def get(job_id: str) -> dict[str, Any]:
        """Say how a job stands; its id is known to nobody but who sent it."""
        return told(job_of(job_id))

    @app.delete("/jobs/{job_id}")
    def cancel(job_id: str) -> dict[str, Any]:
        """End a job; one that is over stays as it is."""
        job = job_of(job_id)
        jobs.cancel(job)
        return told(job)

    @app.get("/jobs/{job_id}/{name}")
    def file(job_id: str, name: str) -> FileResponse:
        """Return a file of a job that is done: film.mp4, page.html, objects.json (masks and events), …"""
        job = job_of(job_id)
        known = told(job)["files"]
        if name not in known:
            what = "it has no such file" if job.state in OVER else f"it is {job.state}"
            raise HTTPException(404, f"{what}: {', '.join(known) or job.cause or 'nothing is written yet'}")
        return FileResponse(jobs.folder / job.id / RESULT / name)

    return app


def _count(jobs: Jobs, state: State) -> float:
    return jobs.counts()[state]


async def _receive(request: Request, path: Path, most_bytes: int) -> int:
    """Write the body to a file as it comes; returns its size."""
    size = 0
    with path.open("wb") as file:
        async for piece in request.stream():
            size += len(piece)
            if size > most_bytes:
                raise HTTPException(413, f"a video has at most {most_bytes} bytes here")
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return size

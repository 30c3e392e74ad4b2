"""The service's addresses: jobs, their progress and their outputs, the page, health and metrics."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from vsalient.errors import OptionError
from vsalient.serve.limits import SERVED_KINDS, Limits, job_arguments
from vsalient.serve.metrics import Metrics
from vsalient.serve.queue import FINAL, JobQueue, QueuedJob
from vsalient.serve.runner import JobRunner, forget
from vsalient.serve.security import Body, Guard, Refused
from vsalient.serve.uploads import (
    UploadForm,
    check_upload_address,
    fetch_upload,
    room,
    safe_name,
    source_name,
    write_raw,
)
from vsalient.version import __version__

PAGE = Path(__file__).parent / "page"
TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".mkv": "video/x-matroska", ".zip": "application/zip"}
EVENT_PAUSE = 0.25
ROOM_PAUSE = 10.0
"""Seconds for which the answer to whether there is room holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a service needs to know.

    Attributes:
        folder: where the queue and the jobs' files lie.
        limits: what it accepts.
        hosts: names it answers to.
        token: demanded of clients, None for none.
        addresses: beginnings of addresses that may be fetched from.
        models: names that jobs may ask for.
        device: where jobs run.
    """

    folder: Path
    limits: Limits
    hosts: frozenset[str]
    token: str | None
    addresses: tuple[str, ...]
    models: frozenset[str]
    device: str = "auto"


def create_app(service: Service) -> Guard:
    """The ASGI application.

    Raises:
        OutputError: the folder cannot be written to.
    """
    jobs = service.folder / "jobs"
    jobs.mkdir(parents=True, exist_ok=True)
    queue = JobQueue(service.folder / "queue.sqlite")
    metrics = Metrics(queue)
    runner = JobRunner(queue, jobs, service.limits, metrics, service.device)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for broken in queue.recover():
            forget(queue, jobs, broken)
        runner.start()
        yield
        await asyncio.to_thread(runner.stop)
        queue.close()

    app = FastAPI(
        title="vsalient",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.add_exception_handler(Refused, _refused)
    _add_pages(app, queue, runner, metrics, service)
    _add_jobs(app, _Jobs(service, queue, runner, metrics, jobs))
    return Guard(app, hosts=service.hosts, token=service.token, metrics=metrics)


def _add_pages(app: FastAPI, queue: JobQueue, runner: JobRunner, metrics: Metrics, service: Service) -> None:
    for path, name, kind in (
        ("/", "page.html", "text/html"),
        ("/page.js", "page.js", "text/javascript"),
        ("/page.css", "page.css", "text/css"),
    ):
        content = (PAGE / name).read_bytes()
        app.get(path, include_in_schema=False)(lambda content=content, kind=kind: Response(content, media_type=kind))

    @app.get("/healthz")
    def health() -> Response:
        counts = queue.counts()
        state = {"status": "ok" if runner.alive else "broken", "queued": counts["queued"], "running": counts["running"]}
        return JSONResponse(state, 200 if runner.alive else 503)

    @app.get("/metrics")
    def figures() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/about")
    def about() -> dict[str, Any]:
        limits = service.limits
        return {
            "version": __version__,
            "models": sorted(service.models),
            "kinds": SERVED_KINDS,
            "limits": {"bytes": limits.upload, "seconds": limits.seconds, "pixels": limits.pixels},
        }


def _add_jobs(app: FastAPI, jobs: "_Jobs") -> None:
    @app.post("/jobs", status_code=201)
    async def submit(request: Request) -> dict[str, Any]:
        return jobs.shown(await jobs.submit(request))

    @app.get("/jobs/{job_id}")
    def show(job_id: str) -> dict[str, Any]:
        return jobs.shown(jobs.get(job_id))

    @app.delete("/jobs/{job_id}", status_code=204)
    def delete(job_id: str) -> Response:
        jobs.delete(jobs.get(job_id))
        return Response(status_code=204)

    @app.get("/jobs/{job_id}/events")
    async def events(job_id: str) -> StreamingResponse:
        jobs.get(job_id)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(jobs.events(job_id), media_type="text/event-stream", headers=headers)

    @app.get("/jobs/{job_id}/outputs/{kind}")
    def output(job_id: str, kind: str) -> FileResponse:
        return jobs.output(jobs.get(job_id), kind)


class _Jobs:
    def __init__(self, service: Service, queue: JobQueue, runner: JobRunner, metrics: Metrics, folder: Path) -> None:
        self._service, self._queue, self._runner, self._metrics = service, queue, runner, metrics
        self._folder = folder
        self._fits_until = 0.0

    async def submit(self, request: Request) -> QueuedJob:
        """Take in a video and put its job into the queue; nothing stays of one that is refused."""
        limits = self._service.limits
        await self._see_room(request)
        fields: Mapping[str, str] = dict(request.query_params)
        url = None
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            fields, url = await _json_fields(Body(request.receive, limit=1 << 14, idle=limits.idle, transfer=30))
        arguments = _arguments(fields, self._service.models)
        name = safe_name(fields.get("name", ""))
        if url is not None:
            found = check_upload_address(url, self._service.addresses)
            name = safe_name(fields.get("name") or found)
        job = await asyncio.to_thread(self._queue.add, name, arguments, limit=limits.queued)
        if job is None:
            raise Refused(503, f"{limits.queued} jobs wait already; try again later")
        try:
            place = self._folder / job.id
            place.mkdir()
            path = place / source_name(name)
            if url is not None:
                size = await asyncio.to_thread(fetch_upload, url, path, limits)
            else:
                body = Body(request.receive, limit=limits.upload, idle=limits.idle, transfer=limits.transfer)
                if kind == "multipart/form-data":
                    path, job = await self._form(request, body, path, job)
                else:
                    await write_raw(aiter(body), path)
                size = body.size
            if not path.stat().st_size:
                raise Refused(400, "the upload is empty: send a video as the body, or as the field 'file' of a form")
            self._metrics.received(size)
            await asyncio.to_thread(self._queue.received, job.id, path, size)
        except BaseException:
            forget(self._queue, self._folder, job)
            raise
        found_job = self._queue.get(job.id)
        assert found_job is not None
        return found_job

    async def _form(self, request: Request, body: Body, path: Path, job: QueuedJob) -> tuple[Path, QueuedJob]:
        """A form says only while it is read what the video is called and what is asked for."""
        form = UploadForm(request.headers["content-type"], path)
        await form.read(aiter(body))
        fields = {**dict(request.query_params), **form.fields}
        job.arguments = _arguments(fields, self._service.models)
        job.name = safe_name(fields.get("name") or form.filename or "")
        await asyncio.to_thread(self._queue.describe, job)
        return path.rename(path.with_name(source_name(job.name))), job

    async def _see_room(self, request: Request) -> None:
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._service.limits.upload + (1 << 16):
            raise Refused(413, f"the upload is larger than {self._service.limits.upload} bytes")
        now = asyncio.get_running_loop().time()
        if now >= self._fits_until:
            await asyncio.to_thread(room, self._folder, self._service.limits)
            self._fits_until = now + ROOM_PAUSE

    def get(self, job_id: str) -> QueuedJob:
        """A job by its id.

        Raises:
            Refused: there is none.
        """
        job = self._queue.get(job_id)
        if job is None:
            raise Refused(404, "there is no such job; its files may have been cleared away")
        return job

    def delete(self, job: QueuedJob) -> None:
        """Cancel a job, and remove it once it is at rest."""
        self._runner.cancel(job.id)
        if job.state in FINAL or job.state == "queued":
            job = self._queue.get(job.id) or job
            if job.state in FINAL:
                forget(self._queue, self._folder, job)

    def output(self, job: QueuedJob, kind: str) -> FileResponse:
        """One output's file."""
        if kind not in job.outputs:
            raise Refused(404, f"this job has no such output; it has {', '.join(job.outputs) or 'none'}")
        path = self._folder / job.id / "outputs" / job.outputs[kind]
        if not path.is_file():
            raise Refused(410, "the file has been cleared away")
        return FileResponse(path, media_type=TYPES.get(path.suffix, "text/plain"), filename=path.name)

    def shown(self, job: QueuedJob) -> dict[str, Any]:
        """What a client sees of a job."""
        shown: dict[str, Any] = {"id": job.id, "state": job.state, "name": job.name, "created": job.created}
        if job.state == "queued":
            shown["ahead"] = self._queue.ahead(job)
        if job.state == "running":
            shown["frames"], shown["total"] = self._runner.progress(job.id)
        if job.state in FINAL:
            shown |= {"error": job.error, "figures": job.figures}
            shown["outputs"] = {kind: f"/jobs/{job.id}/outputs/{kind}" for kind in job.outputs}
        return shown

    async def events(self, job_id: str) -> AsyncIterator[str]:
        """Server-sent events: the job whenever it changes, until it has ended."""
        last, quiet = "", 0.0
        while (job := self._queue.get(job_id)) is not None:
            text = json.dumps(self.shown(job))
            quiet = 0.0 if text != last else quiet + EVENT_PAUSE
            if text != last:
                yield f"event: {job.state}\ndata: {text}\n\n"
            elif quiet >= 15:
                quiet = 0.0
                yield ": still here\n\n"
            if job.state in FINAL:
                return
            last = text
            await asyncio.sleep(EVENT_PAUSE)


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refused)
    return JSONResponse({"error": refusal.text}, refusal.status, refusal.headers)


def _arguments(fields: Mapping[str, str], models: frozenset[str]) -> list[str]:
    try:
        return job_arguments(fields, models)
    except OptionError as error:
        raise Refused(400, str(error)) from None


async def _json_fields(body: Body) -> tuple[dict[str, str], str]:
    text = b"".join([piece async for piece in body])
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
            raise ValueError
        url = fields.pop("url")
    except (ValueError, KeyError, RecursionError):
        raise Refused(400, "give a JSON object of texts with the field url") from None
    return fields, url


def allowed_hosts(bound: str, more: Sequence[str]) -> frozenset[str]:
    """Names that a service bound to an address answers to."""
    own = {"localhost", "127.0.0.1", "[::1]"}
    if bound not in ("0.0.0.0", "::"):
        own.add(f"[{bound}]" if ":" in bound else bound.lower())
    return frozenset(own | {name.lower() for name in more})

"""Runs the jobs of the queue in child processes, and clears away what is no longer kept."""

import contextlib
import shutil
import threading
import time
import zipfile
from pathlib import Path

from vsalient.scale.agenda import Outcome, Task
from vsalient.scale.worker import WorkerProcess, thread_settings
from vsalient.serve.limits import Limits
from vsalient.serve.metrics import Metrics
from vsalient.serve.queue import FINAL, JobQueue, QueuedJob

SERVED_ENDINGS = {
    "video": ".mp4", "mask-video": ".mkv", "overlay": ".mp4", "heatmap": ".mp4", "alpha": ".webm", "foreground": ".mp4",
    "maps": "", "masks": "", "csv": ".csv", "json": ".json", "coco": ".json",
}  # fmt: skip
"""Kind -> the ending of its file; none for a folder, which is handed out as .zip."""


class JobRunner:
    """Threads that take jobs one by one, each with a child of its own.

    Args:
        queue: the jobs.
        folder: where each job has a folder of its own.
        limits: what a job may take.
        metrics: told of what happens.
        device: handed on to every job.
    """

    def __init__(self, queue: JobQueue, folder: Path, limits: Limits, metrics: Metrics, device: str = "auto") -> None:
        self._queue, self._folder, self._limits, self._metrics = queue, folder, limits, metrics
        self._device = device
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._children: dict[str, WorkerProcess] = {}
        self._progress: dict[str, tuple[int, int | None]] = {}
        self._threads = [
            threading.Thread(target=self._work, name=f"vsalient-job-{number}", daemon=True)
            for number in range(limits.jobs)
        ]
        self._threads.append(threading.Thread(target=self._clear, name="vsalient-clear", daemon=True))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether all threads are at work."""
        return all(thread.is_alive() for thread in self._threads)

    def progress(self, job_id: str) -> tuple[int, int | None]:
        """Finished frames of a running job, and about how many there will be."""
        with self._lock:
            return self._progress.get(job_id, (0, None))

    def cancel(self, job_id: str) -> None:
        """Stop a job's child, if it runs."""
        self._queue.cancel(job_id)
        with self._lock:
            child = self._children.get(job_id)
        if child is not None:
            child.stop()

    def stop(self) -> None:
        """Stop all children; what ran waits for the next start."""
        self._stop.set()
        with self._queue.changed:
            self._queue.changed.notify_all()
        with self._lock:
            children = list(self._children.values())
        for child in children:
            child.stop()
        for thread in self._threads:
            thread.join(30)

    def _work(self) -> None:
        child: WorkerProcess | None = None
        arguments: list[str] = []
        while not self._stop.is_set():
            job = self._queue.take()
            if job is None:
                with self._queue.changed:
                    self._queue.changed.wait(0.5)
                continue
            # A child is kept for the next job of the same kind: loading a model takes longer than a short clip.
            if child is None or arguments != job.arguments or child.stopped:
                if child is not None:
                    child.close()
                arguments, child = job.arguments, self._child(job.arguments)
            with self._lock:
                self._children[job.id] = child
            try:
                self._run(job, child)
            finally:
                with self._lock:
                    self._children.pop(job.id, None)
                    self._progress.pop(job.id, None)
        if child is not None:
            child.close()

    def _child(self, arguments: list[str]) -> WorkerProcess:
        limits = self._limits
        return WorkerProcess(
            [*arguments, "--device", self._device, "--quiet", "."],
            environment={**thread_settings(limits.jobs), "VSALIENT_PLAIN_MEDIA": "1"},
            timeout=limits.work,
            memory=limits.memory,
            progress=self._note,
            limits={"seconds": limits.seconds, "pixels": limits.pixels, "frames": limits.frames},
        )

    def _note(self, source: str, frames: int, total: int | None) -> None:
        with self._lock:
            self._progress[Path(source).parent.name] = frames, total

    def _run(self, job: QueuedJob, child: WorkerProcess) -> None:
        place = self._folder / job.id / "outputs"
        kinds = job.arguments[job.arguments.index("--write") + 1].split(",")
        stem = Path(job.name).stem or "video"
        outputs = {kind: place / f"{stem}_{kind}{SERVED_ENDINGS[kind]}" for kind in kinds}
        place.mkdir(exist_ok=True, parents=True)
        began = time.monotonic()
        result = child(Task(job.source, outputs, redo=True))
        if self._stop.is_set() and result.state == "failed" and child.stopped:
            self._queue.back(job.id)
            return
        written: dict[str, str] = {}
        if result.state in ("done", "partial"):
            written = {kind: _packed(path).name for kind, path in outputs.items()}
        Path(job.source).unlink(missing_ok=True)
        # Where the upload lies is nobody's business; the client knows the video by its own name.
        error = None if result.error is None else result.error.replace(job.source, job.name)
        state = "done" if result.state in ("done", "partial") else "failed"
        self._queue.end(job.id, state, error=error, outputs=written, figures=result.summary)
        self._metrics.ended(state, _frames_done(result), time.monotonic() - began)

    def _clear(self) -> None:
        while not self._stop.wait(min(60.0, max(0.2, self._limits.keep / 10))):
            for job in self._queue.ended_before(time.time() - self._limits.keep):
                forget(self._queue, self._folder, job)


def forget(queue: JobQueue, folder: Path, job: QueuedJob) -> None:
    """Remove a job and its files."""
    assert job.state in (*FINAL, "receiving")
    shutil.rmtree(folder / job.id, ignore_errors=True)
    queue.drop(job.id)


def _packed(path: Path) -> Path:
    """A file as it is; a folder of pictures as one file."""
    if not path.is_dir():
        return path
    packed = path.with_name(f"{path.name}.zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:  # PNGs do not get smaller
        for file in sorted(path.iterdir()):
            archive.write(file, f"{path.name}/{file.name}")
    with contextlib.suppress(OSError):
        shutil.rmtree(path)
    return packed


def _frames_done(result: Outcome) -> int:
    return int(result.summary.get("frames", 0))

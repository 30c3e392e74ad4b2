"""What Prometheus may ask of a service."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from vsalient.serve.queue import JobQueue


class Metrics:
    """Counters of one service, in a registry of its own."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._registry = CollectorRegistry()
        self._jobs = Counter("vsalient_jobs", "Jobs that ended.", ["state"], registry=self._registry)
        self._frames = Counter("vsalient_frames", "Frames that went through the network.", registry=self._registry)
        self._seconds = Histogram(
            "vsalient_job_seconds",
            "Time that a job ran.",
            registry=self._registry,
            buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1800),
        )
        self._refused = Counter("vsalient_refused", "Requests refused.", ["status"], registry=self._registry)
        self._received = Counter("vsalient_received_bytes", "Bytes uploaded or fetched.", registry=self._registry)
        self._states = Gauge("vsalient_jobs_now", "Jobs by state.", ["state"], registry=self._registry)

    def ended(self, state: str, frames: int, seconds: float) -> None:
        """A job has ended."""
        self._jobs.labels(state).inc()
        self._frames.inc(frames)
        self._seconds.observe(seconds)

    def refused(self, status: int) -> None:
        """A request was answered with an error."""
        self._refused.labels(str(status)).inc()

    def received(self, size: int) -> None:
        """An upload came through."""
        self._received.inc(size)

    def text(self) -> bytes:
        """The exposition format."""
        for state, count in self._queue.counts().items():
            self._states.labels(state).set(count)
        return generate_latest(self._registry)

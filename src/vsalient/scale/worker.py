"""A child process that does one input after another, so that starting up is paid once; it can be timed out and killed.

The child runs `vsalient VERB … --worker`: it reads requests from its standard input and answers on its standard
output, a JSON object a line. A request names an input; the answer is its result, with lines of progress before it.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from vsalient.scale.agenda import Outcome, Task
from vsalient.scale.claims import Claim
from vsalient.sweeping import sweep

GRACE = 5.0
"""Seconds that a child is given to clean up before it is killed."""
WorkerProgress = Callable[[str, int, int | None], None]
"""Told of an input, its finished frames and about how many there will be."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_settings(jobs: int) -> dict[str, str]:
    """Environment of one of `jobs` processes that share the cores; what the user has set stays."""
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, cores() // jobs))}


class WorkerProcess:
    """One child; started at the first task, and again when it has died. For one thread.

    Args:
        arguments: the verb and its options, without inputs.
        environment: variables to set for the child.
        timeout: seconds that one input may take.
        progress: told of frames as they are done.
        memory: bytes that the child may allocate (Linux); more ends it.
        limits: what an input may have at most: seconds, pixels, frames.
        extra: input -> its maps made earlier.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
        progress: WorkerProgress | None = None,
        memory: int | None = None,
        limits: Mapping[str, float] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", "vsalient", *arguments, "--worker"]
        self._environment = {**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"}
        self._timeout, self._progress, self._memory = timeout, progress, memory
        self._limits, self._extra = dict(limits or {}), dict(extra or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: Any = None
        self._buffer = b""
        self._stopped = threading.Event()

    def __call__(self, task: Task, claim: Claim | None = None) -> Outcome:
        """Have one task done; a child that dies or takes too long is a failure."""
        request: dict[str, Any] = {
            "input": task.source,
            "outputs": {kind: str(path) for kind, path in task.outputs.items()},
            "redo": task.redo,
            "limits": self._limits,
        }
        if task.source in self._extra:
            request["extra"] = self._extra[task.source]
        if claim is not None:
            request["claim"] = {"folder": str(task.outputs[next(iter(task.outputs))].parent), "place": claim.place}
            request["claim"] |= {"generation": claim.generation, "name": claim.name, "token": claim.token}
        try:
            child = self._start()
            deadline = None if self._timeout is None else time.monotonic() + self._timeout
            assert child.stdin is not None
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            while True:
                answer = self._answer(child, deadline)
                if "result" in answer:
                    known = {item.name for item in fields(Outcome)}
                    return Outcome(**{name: value for name, value in answer["result"].items() if name in known})
                if self._progress is not None:
                    self._progress(task.source, int(answer["frames"]), answer.get("total"))
        except TimeoutError:
            self._end()
            self._swept(task)
            return Outcome(task.source, "failed", f"{task.source} took longer than {self._timeout:g} s (--timeout)")
        except (EOFError, BrokenPipeError):
            why = self._reason()
            self._end()
            self._swept(task)
            stopped = self._stopped.is_set()
            return Outcome(task.source, "failed", f"{task.source}: {'stopped' if stopped else why}", final=stopped)

    @property
    def stopped(self) -> bool:
        """Whether it was told to end: it takes no more tasks then."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End the child and whatever it does, from any thread."""
        self._stopped.set()
        process = self._process
        if process is not None and process.poll() is None:
            _terminate(process)

    def close(self) -> None:
        """End the child once it has nothing to do."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            _terminate(process)
        self._forget(process)

    def _start(self) -> "subprocess.Popen[bytes]":
        if self._stopped.is_set():
            raise EOFError
        if self._process is None:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
            self._buffer = b""
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=self._environment,
                # Ctrl-C reaches the whole terminal; the parent decides what becomes of its children.
                start_new_session=True,
            )
            if self._memory is not None and sys.platform == "linux":
                import resource

                resource.prlimit(self._process.pid, resource.RLIMIT_DATA, (self._memory, self._memory))
            # Starting up takes seconds, and fetching weights longer: an input's time begins when the child is ready.
            self._answer(self._process, None)
        return self._process

    def _answer(self, child: "subprocess.Popen[bytes]", deadline: float | None) -> dict[str, Any]:
        assert child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError
                if selector.select(left):
                    block = os.read(child.stdout.fileno(), 1 << 16)
                    if not block:
                        raise EOFError
                    self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def _reason(self) -> str:
        """Why the child is gone."""
        assert self._process is not None
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return "its process closed its output"
        if code < 0:
            name = signal.Signals(-code).name if -code in {item.value for item in signal.Signals} else str(-code)
            return f"its process was ended by {name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 4096))
        lines = [line.strip() for line in self._errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1].removeprefix("Error: ") if lines else f"its process ended with code {code}"

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _terminate(process)
            self._forget(process)

    def _forget(self, process: "subprocess.Popen[bytes]") -> None:
        for pipe in (process.stdin, process.stdout, self._errors):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    @staticmethod
    def _swept(task: Task) -> None:
        sweep({Path(path).parent for path in task.outputs.values()})


def _terminate(process: "subprocess.Popen[bytes]") -> None:
    """Ask the child to end, then make it."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def result_line(outcome: Outcome) -> str:
    """The line that ends a child's answer."""
    return json.dumps({"result": asdict(outcome)})


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent is gone (Linux); elsewhere the closed input does it later."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)

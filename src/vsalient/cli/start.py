"""Where the program begins and ends: signals from the first moment, and every error as one line and an exit code.

Only the standard library is imported here, so that a Ctrl-C while the rest is being imported ends as well as any other.
"""

import atexit
import contextlib
import errno
import io
import os
import signal
import sys
import threading
from typing import Any, NoReturn

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line; expected failures end with one line on stderr and exit code 1.

    Usage errors exit with 2, Ctrl-C with 130, other signals to stop with 128 and their number. `VSALIENT_DEBUG=1`
    lets the traceback through.

    Args:
        args: the arguments; None for those of the program, which then ends here.
    """
    stopping = Signals()
    if args is None:
        _speak_any_name()
    try:
        try:
            code = _run(args, stopping)
            if args is None:
                _leave(code, stopping)
        except KeyboardInterrupt:  # between two lines of ours, before `_run` sees it or after
            code = _interrupted(stopping)
            if args is None:
                _leave(code, stopping)
    finally:
        stopping.restore()
    sys.exit(code)


class Signals:
    """Lets a terminal that closes, or a scheduler that ends the job, stop the work as Ctrl-C does: with cleaning up.

    A second signal is ignored, so that an impatient Ctrl-C leaves no half file; a third one stops the cleaning up too.

    Attributes:
        received: the numbers of the signals that came.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)):
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job in the background
                    self._before[number] = signal.signal(number, self._stop)

    def code(self) -> int:
        """The exit code of having been stopped."""
        return 128 + (self.received or [signal.SIGINT])[0]

    def last(self) -> None:
        """The work is over: from now on a signal ends the process at once, or, once stopped, does nothing more."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN if self.received else _end_at_once)

    def restore(self) -> None:
        """Leave the signals to whoever had them before."""
        for number, handler in self._before.items():
            # Once stopped, the program is on its way out, and one more Ctrl-C would only show a traceback of that.
            signal.signal(number, signal.SIG_IGN if self.received else handler)

    def _stop(self, number: int, frame: object) -> None:
        self.received.append(number)
        if len(self.received) != 2:
            raise KeyboardInterrupt


def _run(args: list[str] | None, stopping: Signals) -> int:
    try:
        from vsalient.cli.app import root

        code = root.main(args=args, prog_name="vsalient", standalone_mode=False)
        if not stopping.received:
            return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        pass
    except Exception as error:
        # What a library makes of a Ctrl-C within it may be any error at all.
        if not stopping.received and not _is_abort(error):
            return _explain(error)
    return _interrupted(stopping)


def _interrupted(stopping: Signals) -> int:
    """Say it, and give the exit code of having been stopped."""
    with contextlib.suppress(OSError):
        sys.stderr.write("Interrupted.\n")
        sys.stderr.flush()
    return stopping.code()


def _speak_any_name() -> None:
    """Let stdout take every file name: bytes that are no UTF-8 as they are, what its encoding lacks escaped."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
        reconfigure(errors="surrogateescape" if unicode else "backslashreplace")


def _is_abort(error: Exception) -> bool:
    import click

    return isinstance(error, click.exceptions.Abort)


def _explain(error: Exception) -> int:
    """Print an expected failure; anything else goes on as it is.

    Returns:
        The exit code.
    """
    import click

    from vsalient.cli.shared.plain import plain
    from vsalient.errors import VsalientError, one_line

    if isinstance(error, click.ClickException):
        shown = io.StringIO()
        error.show(file=shown)
        click.echo("\n".join(map(plain, shown.getvalue().split("\n"))), err=True, nl=False)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        # The reader of our stdout went away (`vsalient models list | head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if os.environ.get("VSALIENT_DEBUG") or not isinstance(error, VsalientError | OSError):
        raise error
    text = one_line(error)
    if isinstance(error, OSError) and not isinstance(error, VsalientError) and error.errno == errno.ENAMETOOLONG:
        text = f"{error.filename}: the name is too long for this file system; give a shorter -o"
    click.echo(f"Error: {plain(text)}", err=True)
    return 1


def _leave(code: int, stopping: Signals) -> NoReturn:
    """End the process without taking the interpreter apart: that takes a while, and signals would kill it meanwhile."""
    stopping.last()
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            pass
        except OSError:  # a full disk behind `>`
            code = code or 1
    os._exit(code)


def _end_at_once(number: int, frame: object) -> None:
    os._exit(128 + number)

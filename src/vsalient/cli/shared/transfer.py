"""A transfer's progress on stderr: what is being asked, then a bar with size, speed and time left."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from vsalient.cli.shared.plain import plain


class TransferProgress:
    """Shows what `vsalient.checkpoints` is told to fetch; a context manager. Quiet ones show nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.bars: Progress | None = None

    def say(self, message: str) -> None:
        """One line on what happens now."""
        self.console.print(plain(message), style="dim", soft_wrap=True, markup=False)

    def begin(self, description: str, total: int | None, done: int) -> None:
        """Show a bar for `total` bytes, `done` of them here; only on a terminal."""
        self.end()
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal or self.console.quiet,
        )
        self.bars.add_task(plain(description), total=total, completed=done)
        self.bars.start()

    def advance(self, amount: int) -> None:
        """Move the bar by `amount` bytes."""
        if self.bars is not None:
            self.bars.advance(self.bars.task_ids[0], amount)

    def end(self) -> None:
        """Leave the bar as it is."""
        if self.bars is not None:
            self.bars.stop()
            self.bars = None

    def __enter__(self) -> "TransferProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

"""How a transfer tells what it is doing: a protocol that the command line implements, and silence."""

from typing import Any, Protocol


class FetchProgress(Protocol):
    """Told of one transfer at a time, by the thread that transfers."""

    def say(self, message: str) -> None:
        """One line on what happens now, such as which host is being asked."""

    def begin(self, description: str, total: int | None, done: int) -> None:
        """A transfer of `total` bytes (None: not known) begins or goes on; `done` of them are here."""

    def advance(self, amount: int) -> None:
        """`amount` more bytes are here; negative when a transfer had to start again."""

    def end(self) -> None:
        """The transfer is over, well or not."""


class Silent:
    """Progress that nobody hears."""

    def say(self, message: str) -> None:
        """Do nothing."""

    def begin(self, description: str, total: int | None, done: int) -> None:
        """Do nothing."""

    def advance(self, amount: int) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class RestartsForeverError(Exception):
    """The server cuts every transfer and cannot go on where it stopped."""


MAX_RESTARTS = 3


def tqdm_like(progress: FetchProgress) -> type:
    """A class that the Hub's client can use in tqdm's place; what it is told goes to `progress`."""

    class Bar:
        def __init__(
            self, *args: Any, desc: str = "", total: int | None = None, initial: int = 0, **kwargs: Any
        ) -> None:
            self.total = total
            self.n = initial
            self.restarts = 0
            progress.begin(desc, total, initial)

        def update(self, amount: float | None = 1) -> None:
            step = int(amount or 0)
            # The client retries for as long as bytes come; without ranges they are the same bytes each time.
            self.restarts += step < 0
            if self.restarts > MAX_RESTARTS:
                raise RestartsForeverError
            self.n += step
            progress.advance(step)

        def update_transfer(self, amount: float | None = 1) -> None:
            """Bytes on the wire; `update` counts the bytes that are here, which is enough."""

        def set_description(self, *args: Any, **kwargs: Any) -> None: ...

        def set_postfix_str(self, *args: Any, **kwargs: Any) -> None: ...

        def set_transfer_postfix_str(self, *args: Any, **kwargs: Any) -> None: ...

        def refresh(self, *args: Any, **kwargs: Any) -> None: ...

        def close(self) -> None:
            progress.end()

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *exc: object) -> None:
            self.close()

    return Bar

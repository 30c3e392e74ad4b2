"""What was typed, a record a group of options: the model, the batch, the outputs, the part of the video."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vsalient.cli.editing import Editing, editing_options
from vsalient.cli.many_options import many_options
from vsalient.cli.shared.options import (
    Command,
    batch_options,
    check_batch_options,
    check_color,
    check_engine_options,
    check_times,
    clip_options,
    look_options,
    model_options,
    options,
    range_options,
)
from vsalient.outputs.looks import Looks
from vsalient.procedure import Clips

if TYPE_CHECKING:
    from vsalient.checkpoints import WeightsEntry
    from vsalient.cli.shared.console import Console, ProgressForm
    from vsalient.model import Model


def gather(**records: type[Any]) -> Callable[[Command], Command]:
    """Hand a command its parameters in records: `model=ModelChoice` takes those named like the record's fields."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gathered(*args: Any, **values: Any) -> Any:
            made = {
                name: record(**{item.name: values.pop(item.name) for item in fields(record)})
                for name, record in records.items()
            }
            return command(*args, **values, **made)

        return gathered  # type: ignore[return-value]

    return decorate


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model, and how it is loaded; the attributes are named like the options."""

    model: str
    weights: Path | None
    device: str
    dtype: Any
    engine: Any
    threads: int | None
    exact: bool
    flip: bool
    offline: bool

    def checked(self, protocol: str) -> "ModelChoice":
        """The same, exact where the authors' procedure implies it.

        Raises:
            OptionError: what can be seen to be wrong without PyTorch.
        """
        exact = check_engine_options(self.device, self.dtype, self.exact, protocol, self.engine)
        return replace(self, exact=exact)

    def entry(self) -> "WeightsEntry":
        """The registry's entry.

        Raises:
            WeightsError: there is none of this name.
        """
        from vsalient.checkpoints import find_entry

        return find_entry(self.model, own_weights=self.weights is not None)

    def load(self, console: "Console") -> "Model":
        """Load it, showing the transfer of its weights when they must be fetched.

        Raises:
            ModelLoadError: it cannot be loaded, whatever the input.
        """
        from vsalient.cli.shared.loading import load_with_progress

        return load_with_progress(
            console,
            self.model,
            self.weights,
            self.device,
            self.dtype,
            engine=self.engine,
            exact=self.exact,
            flip=self.flip,
            offline=self.offline,
            threads=self.threads,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChoice:
    """How the batch goes; the attributes are named like the options."""

    overwrite: bool
    skip_existing: bool
    keep_going: bool
    as_json: bool
    dry_run: bool
    progress: "ProgressForm"
    quiet: bool
    verbose: bool

    def check(self) -> None:
        """Refuse flags that contradict each other.

        Raises:
            OptionError: both of a pair are given.
        """
        check_batch_options(self.overwrite, self.skip_existing, self.quiet, self.verbose)

    def console(self) -> "Console":
        """What speaks on stderr."""
        from vsalient.cli.shared.console import Console

        return Console(quiet=self.quiet, verbose=self.verbose, progress=self.progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputChoice:
    """Where outputs go and how they look; the attributes are named like the options."""

    output: str | None
    kinds: tuple[str, ...]
    mask_style: Literal["gray", "palette"] | None
    lossless: bool
    alpha_format: str
    background_color: str
    no_audio: bool

    @property
    def wanted(self) -> tuple[str, ...]:
        """The kinds.

        Raises:
            OptionError: an unknown one.
        """
        from vsalient.cli.shared.naming import parse_kinds

        return parse_kinds(self.kinds)

    def endings(self) -> dict[str, str]:
        """Kind -> file ending, where it is not the usual one."""
        alpha = ".mov" if self.alpha_format == "prores" else f".{self.alpha_format}"
        return {"alpha": alpha, "video": ".mkv" if self.lossless else ".mp4"}

    def looks(self, *, palette: bool, **more: Any) -> Looks:
        """How outputs look; masks are in the palette where nothing else was asked for and `palette` says so.

        Raises:
            OptionError: a colour that is none.
        """
        return Looks(
            mask_style=self.mask_style or ("palette" if palette else "gray"),
            audio=not self.no_audio,
            background=check_color(self.background_color),
            **more,
        )

    def plan(self, *, model: str, endings: dict[str, str], skip_existing: bool) -> Any:
        """From inputs to jobs, see `vsalient.cli.shared.naming.plan_targets`."""
        from vsalient.cli.shared.naming import plan_targets

        return partial(
            plan_targets,
            kinds=self.wanted,
            output=self.output,
            model=model,
            endings=endings,
            skip_existing=skip_existing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Which frames of an input are taken, and how.

    Attributes:
        every: only every N-th frame.
        limit: so many at most.
        deinterlace: make whole pictures of interlaced ones.
    """

    every: int = 1
    limit: int | None = None
    deinterlace: bool = True

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            OptionError: one leaves no frame.
        """
        from vsalient.media.thin import check_thinning

        check_thinning(self.every, self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which part of a video, and how fast a folder of frames is; seconds and frames a second."""

    start: float | None
    end: float | None
    rate: float | None
    every: int
    limit: int | None
    deinterlace: str

    def check(self) -> None:
        """Refuse an impossible range or rate.

        Raises:
            OptionError: it is one.
        """
        check_times(self.start, self.end, self.rate)
        self.reading()

    @property
    def seconds(self) -> tuple[float | None, float | None, float | None]:
        """Start, end and rate."""
        return self.start, self.end, self.rate

    def reading(self) -> Reading:
        """Which frames are read, and how.

        Raises:
            OptionError: a number leaves no frame.
        """
        return Reading(every=self.every, limit=self.limit, deinterlace=self.deinterlace == "auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What was typed of all that the verbs share which run a network over films; made by `run_options`."""

    outputs: OutputChoice
    editing: Editing
    batch: BatchChoice
    model: ModelChoice
    clips: Clips
    span: Span

    def checked(self) -> "Choices":
        """The same, once what contradicts itself is refused; exact where the authors' procedure implies it.

        Raises:
            OptionError: what can be seen to be wrong without PyTorch.
        """
        self.batch.check()
        model = self.model.checked(self.clips.protocol)
        self.span.check()
        return replace(self, model=model)

    def looks(self, *, palette: bool) -> tuple[Looks, dict[str, str]]:
        """How outputs look, and kind -> file ending where it is not the usual one.

        Args:
            palette: masks are in the palette where nothing else was asked for.

        Raises:
            OptionError: a value makes no sense, or there is nothing it is for.
        """
        endings = self.outputs.endings()
        more = self.editing.looks(self.outputs.wanted, endings)
        return self.outputs.looks(palette=palette or self.clips.protocol == "paper", **more), endings


def run_options(kind: str) -> Callable[[Command], Command]:
    """The options of a verb that runs a network over films, which gets them as `choices`; `kind` is written if none is.

    --model and the like, clips, outputs, the matte, the batch, many videos, and the part of a film.
    """
    return options(
        look_options(kind),
        editing_options,
        batch_options,
        many_options,
        model_options,
        clip_options,
        range_options,
        gather(outputs=OutputChoice, batch=BatchChoice, model=ModelChoice, clips=Clips, span=Span),
        gather(choices=Choices),
    )

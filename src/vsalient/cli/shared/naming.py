"""Where outputs go: kinds of output, the default names, `-o` as folder, file or template, and what stands there."""

import os
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from vsalient.errors import OptionError, OutputError
from vsalient.outputs.kinds import KINDS, Kind

FIELDS = ("stem", "suffix", "model", "kind", "parent", "ext")
_FILE_ENDINGS = (
    ".mp4",
    ".mkv",
    ".mov",
    ".webm",
    ".avi",
    ".gif",
    ".png",
    ".jpg",
    ".jpeg",
    ".m4v",
    ".webp",
    ".json",
    ".csv",
)
"""An `-o` that ends so means a file, also where no kind can be written to it: that gives the better message."""


@dataclass(frozen=True, slots=True)
class Target:
    """One output of one input: a kind's name and the file or folder it goes to."""

    kind: str
    path: Path

    @property
    def exists(self) -> bool:
        """Whether something stands there that would be replaced; an empty folder does not count."""
        return any(self.path.iterdir()) if self.path.is_dir() else self.path.exists() or self.path.is_symlink()


@dataclass(frozen=True, slots=True)
class Job:
    """An input with its outputs."""

    source: Path
    targets: tuple[Target, ...]


def parse_kinds(texts: Sequence[str]) -> tuple[str, ...]:
    """Names of kinds, repeated or comma-separated, without repeats and in the table's order.

    Raises:
        OptionError: an unknown kind.
    """
    names = [part.strip() for text in texts for part in text.split(",")]
    for name in names:
        if name not in KINDS:
            close = get_close_matches(name, KINDS, 1, 0.5)
            hint = f"did you mean {close[0]}? There are" if close else "choose from"
            raise OptionError(f"--write '{name}' is unknown: {hint} {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in names)


def plan_targets(
    sources: Sequence[Path],
    kinds: Sequence[str],
    output: str | None,
    *,
    model: str,
    endings: Mapping[str, str] | None = None,
    skip_existing: bool = False,
) -> list[Job]:
    """Work out every output's path and check that they can be written side by side.

    Args:
        sources: videos and frame folders.
        kinds: kinds of output for each of them.
        output: a folder, a file, or a template with `{stem}`, `{model}`, `{kind}`, `{parent}`, `{ext}`; None is
            the current folder.
        model: what `{model}` stands for.
        endings: kind -> the suffix to use in place of its default one.
        skip_existing: leave out sources that are outputs of others: the same pattern, typed again in the same
            folder to go on with a batch, names them too.

    Raises:
        OptionError: a template that cannot be read, a suffix its kind cannot have, or two outputs of one name.
        OutputError: an output would replace an input, or its folder cannot be written to.
    """
    template = _template(sources, kinds, output)
    jobs = []
    for source in sources:
        names = {
            kind: _fill(template, source, KINDS[kind], model, _ending(source, KINDS[kind], endings or {}))
            for kind in kinds
        }
        jobs.append(Job(source, tuple(Target(kind, path) for kind, path in names.items())))
    if skip_existing:
        made = {target.path.resolve(): job.source for job in jobs for target in job.targets}
        jobs = [job for job in jobs if made.get(job.source.resolve(), job.source) == job.source]
        sources = [job.source for job in jobs]
    taken: dict[Path, Path] = {}
    inputs = {source.resolve() for source in sources}
    # A folder of pictures that is overwritten is replaced as a whole: it must not be one that holds an input.
    holders = {
        folder: source
        for source in sources
        for folder in (source.parent.resolve(), *source.parent.resolve().parents, *source.resolve().parents)
    }
    for job in jobs:
        for target in job.targets:
            place = target.path.resolve()
            if place in taken:
                if taken[place] == job.source:
                    step = "give -o a template with {kind}"
                elif taken[place].parent.resolve() == job.source.parent.resolve():
                    step = "give -o a template with {suffix}"
                else:
                    step = "give -o a template with {parent}"
                raise OptionError(f"two outputs would be {target.path} (of {taken[place]} and {job.source}): {step}")
            if place in inputs:
                raise OutputError(f"{target.path} is an input and would be replaced: choose another -o")
            if place in holders:
                raise OutputError(f"{target.path} is a folder that holds the input {holders[place]}: choose another -o")
            taken[place] = job.source
            _check(KINDS[target.kind], target.path, job.source)
    return jobs


def keep_wanted(jobs: Sequence[Job], *, overwrite: bool, skip_existing: bool) -> list[Job]:
    """Leave out targets that exist if they are to be skipped; a job may be left with none.

    Raises:
        OutputError: an output exists, and neither flag is given.
    """
    if overwrite:
        return list(jobs)
    existing = [target.path for job in jobs for target in job.targets if target.exists]
    if existing and not skip_existing:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise OutputError(f"{existing[0]}{more} exists: give --overwrite, --skip-existing or another -o")
    return [Job(job.source, tuple(target for target in job.targets if not target.exists)) for job in jobs]


def stem_of(source: Path) -> str:
    """The name of a video without its ending, or of a frame folder in full."""
    from vsalient.media.addresses import address_of, stem_of_address

    if (address := address_of(source)) is not None and not source.exists():
        return stem_of_address(address)
    if "%" in source.name and not source.exists():  # numbered pictures are called after their folder
        source = source.parent
    source = source.resolve() if source.name in ("", ".", "..") else source
    return source.name if source.is_dir() else source.stem


def _check(kind: Kind, path: Path, source: Path) -> None:
    from vsalient.outputs import check_output

    if kind.is_folder and path.suffix.lower() in _FILE_ENDINGS:
        raise OptionError(f"{kind.what} are a folder of PNGs, not {path}: give -o a folder")
    # What exists is looked at later: it may have to be skipped.
    check_output(kind, path, source=source, overwrite=True)


def _ending(source: Path, kind: Kind, endings: Mapping[str, str]) -> str | None:
    """The ending that is not the kind's usual one: what was asked for, or a picture's for a picture."""
    if kind.still_endings and endings.get(kind.name) not in (".gif", ".webp"):
        from vsalient.media import is_photo

        if is_photo(source):
            return kind.still_endings[0]
    return endings.get(kind.name)


def _template(sources: Sequence[Path], kinds: Sequence[str], output: str | None) -> str:
    default = "{stem}_{label}{ending}"
    if output is None:
        return default
    if "{" in output:
        try:
            fields = [field[1:] for field in string.Formatter().parse(output) if field[1] is not None]
        except ValueError as error:
            raise OptionError(f"-o '{output}' is no template: {error}") from None
        for name, form, conversion in fields:
            if name not in FIELDS or form or conversion:
                field = f"{name}{'!' if conversion else ''}{conversion or ''}{':' if form else ''}{form}"
                raise OptionError(f"-o field {{{field}}} is unknown: use {', '.join(f'{{{f}}}' for f in FIELDS)}")
        return _at_home(output)
    if output == "-":
        if len(sources) > 1 or len(kinds) > 1 or any(not KINDS[kind].still_endings for kind in kinds):
            raise OptionError("-o - writes one video to stdout: give one input, and one --write that is a video")
        return output
    path = Path(_at_home(output))
    is_file = path.suffix.lower() in _FILE_ENDINGS and not path.is_dir() and not output.endswith(("/", os.sep))
    if not is_file:
        return _escape(str(path)) + os.sep + default
    if len(sources) > 1 or len(kinds) > 1:
        what = f"{len(sources)} inputs" if len(sources) > 1 else f"{len(kinds)} kinds of output"
        raise OptionError(
            f"-o {output} is one file for {what}: give a folder or a template such as {{stem}}_{{kind}}.{{ext}}"
        )
    return _escape(str(path))


def _escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _fill(template: str, source: Path, kind: Kind, model: str, ending: str | None) -> Path:
    suffix = (kind.endings or ("",))[0] if ending is None else ending
    text = template.format(
        stem=stem_of(source),
        model=model,
        kind=kind.name,
        parent=str(source.parent),
        ext=suffix[1:],
        label=kind.label,
        suffix="" if source.is_dir() else source.suffix[1:],
        ending=suffix,
    )
    # A folder has no ending: "{stem}_{kind}.{ext}" must not leave a dot behind.
    return Path(text if suffix else text.rstrip("."))


def _at_home(output: str) -> str:
    """`-o` with a leading ~ resolved; never that of an input's name, which is no folder."""
    return (
        output.replace("~", str(Path.home()), 1) if output == "~" or output.startswith(("~/", f"~{os.sep}")) else output
    )

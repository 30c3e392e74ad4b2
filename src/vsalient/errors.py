"""The error tree: every failure a user can cause or meet is a `VsalientError`.

The message names the value at fault, what is allowed, and the next step, in one line. Only the command line
turns these into exit codes; the library never prints or exits.
"""


class VsalientError(Exception):
    """Base of all expected failures."""


class InputError(VsalientError):
    """A source (video, frame folder, data set) is missing, empty or unreadable."""


class DecodeError(InputError):
    """A file exists but no frame can be decoded from it."""


class OutputError(VsalientError):
    """An output cannot be written: read-only place, full disk, impossible format."""


class OptionError(VsalientError):
    """An option's value, or a combination of options, makes no sense."""


class DeviceError(VsalientError):
    """A device, dtype or engine that was asked for is not there."""


class WeightsError(VsalientError):
    """A weights entry is unknown, unpublished or broken."""


class CheckpointError(WeightsError):
    """A checkpoint file cannot be read or does not fit the architecture (says which keys)."""


class FetchError(WeightsError):
    """Weights could not be fetched: network, missing repository, gated, offline, wrong hash."""


class PublishError(WeightsError):
    """Weights could not be published: no token, not allowed, refused, network."""


class DataError(VsalientError):
    """A data set, recipe or ground truth does not have the form that is needed."""


class TrainingError(VsalientError):
    """A training run cannot go on: its loss is no number, its folder cannot be written to or is in use."""


class MissingDependencyError(VsalientError):
    """An optional package is needed; the message says how to install it."""


def one_line(error: BaseException) -> str:
    """An error's text in one line, or its type's name when it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException, limit: int = 160) -> str:
    """The first line of an error that says something, cut to `limit` characters; its type's name when none does."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line if len(line) <= limit else line[: limit - 3] + "..."

"""Inputs and outputs by address: s3://, gs://, az:// and whatever else fsspec reaches.

An input is fetched before its turn and removed after it; an output is made on the local disk and uploaded when it is
whole. An object appears under its name in one step; of a folder of pictures that cannot be uploaded whole, what was
uploaded is removed again. Credentials come from where the storage's own tools find them, and are never printed.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vsalient.datasets.names import VIDEOS
from vsalient.errors import InputError, MissingDependencyError, OptionError, OutputError, one_line
from vsalient.scale.agenda import Outcome, Task
from vsalient.scale.batch import Work
from vsalient.scale.claims import Claim

SCHEMES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "memory": "fsspec",
}
"""Scheme -> the package that reaches it."""
STREAMED = ("http", "https", "rtsp", "rtmp", "rtp", "udp", "tcp", "srt", "ftp")
"""Left to FFmpeg."""
_REMOTE_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY", "AZURE_STORAGE_CONNECTION_STRING")


def is_remote(text: str) -> bool:
    """Whether a text is an address of a storage.

    Raises:
        OptionError: an address whose scheme nobody knows.
    """
    found = _REMOTE_ADDRESS.match(text)
    if found is None or found[1].lower() in STREAMED:
        return False
    if found[1].lower() not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise OptionError(f"{shown(text)}: the scheme {found[1]}:// is unknown: take {known}")
    return True


def shown(text: str) -> str:
    """An address without a user's name, password and query."""
    parts = urlsplit(text)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Remote:
    """The far files of one run, and the folder in which they are at home meanwhile. Close it in the end."""

    def __init__(self) -> None:
        self._spool = Path(tempfile.mkdtemp(prefix="vsalient-"))
        self._inputs: dict[str, tuple[Any, str, str]] = {}
        self._out: tuple[Any, str, str] | None = None

    def expand(self, text: str) -> list[Path]:
        """The local names that the videos behind an address will have: one object, a pattern, or a folder.

        Raises:
            InputError: nothing is there, or it cannot be listed.
        """
        files, key = self._open(text, InputError)
        scheme = text.partition("://")[0]
        try:
            if any(sign in key for sign in "*?["):
                found = files.glob(key)
            elif files.isdir(key):
                found = [name for name in files.ls(key, detail=False) if _is_video(name)]
            else:
                found = [key] if files.exists(key) else []
        except Exception as error:
            raise InputError(f"{shown(text)} cannot be listed: {_harmless(error)}") from None
        if not found:
            raise InputError(f"{shown(text)} does not exist, or holds no videos; check the address")
        paths = []
        for name in sorted(str(name) for name in found):
            local = self._spool / "in" / Path(*[part for part in name.split("/") if part not in ("", ".", "..")])
            self._inputs[str(local)] = files, name, f"{scheme}://{name.lstrip('/')}"
            paths.append(local)
        return paths

    def output(self, text: str) -> str:
        """Where outputs are made that `-o` wants at an address; the address may be a template.

        Raises:
            OutputError: it cannot be written to.
        """
        base, sign, rest = text.partition("{")
        folder = base.rpartition("/")[0] + "/" if sign else base.rstrip("/") + "/"
        if not sign and Path(base).suffix:
            raise OptionError(f"-o {shown(text)}: give a folder, or a template such as {shown(folder)}{{stem}}.{{ext}}")
        files, key = self._open(folder, OutputError)
        probe = f"{key.rstrip('/')}/.vsalient-{os.urandom(6).hex()}"
        try:
            files.pipe_file(probe, b"")
            files.rm_file(probe)
        except Exception as error:
            raise OutputError(f"{shown(text)} cannot be written: {_harmless(error)}") from None
        self._out = files, key.rstrip("/"), shown(folder).rstrip("/")
        place = self._spool / "out"
        place.mkdir(exist_ok=True)
        return f"{place}/{base[len(folder) :] if sign else ''}{sign}{rest}"

    def refuse_existing(self, paths: Sequence[Path]) -> None:
        """See that nothing stands where outputs will go.

        Raises:
            OutputError: something does.
        """
        for path in paths:
            if self._out is not None and (self._spool / "out") in path.parents and self._out[0].exists(self._key(path)):
                raise OutputError(f"{self.address(path)} exists: give --overwrite or another -o")

    def address(self, path: Path | str) -> str:
        """What a local name stands for; itself where it stands for nothing far away."""
        known = self._inputs.get(str(path))
        if known is not None:
            return known[2]
        if self._out is not None and (self._spool / "out") in Path(path).parents:
            return f"{self._out[2]}/{Path(path).relative_to(self._spool / 'out').as_posix()}"
        return str(path)

    def around(self, work: Work) -> Work:
        """Fetch before the work, upload after it, and leave nothing on the local disk."""

        def done(task: Task, claim: Claim | None) -> Outcome:
            source = Path(task.source)
            try:
                self._fetch(source)
                result = work(task, claim)
                if result.state in ("done", "partial"):
                    self._upload(list(task.outputs.values()))
            except (InputError, OutputError) as error:
                result = Outcome(task.source, "failed", str(error))
            finally:
                if task.source in self._inputs:
                    source.unlink(missing_ok=True)
                for path in task.outputs.values():
                    if (self._spool / "out") in path.parents:
                        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            if result.error is not None:
                result.error = self.renamed(result.error)
            return result

        return done

    def renamed(self, text: str) -> str:
        """A message with addresses in place of the local names."""
        for local, (_, _, address) in self._inputs.items():
            text = text.replace(local, address)
        return text if self._out is None else text.replace(str(self._spool / "out"), self._out[2])

    def close(self) -> None:
        """Remove the local folder."""
        shutil.rmtree(self._spool, ignore_errors=True)

    def _fetch(self, path: Path) -> None:
        if str(path) not in self._inputs:
            return
        files, key, address = self._inputs[str(path)]
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            files.get_file(key, str(path))
        except Exception as error:
            raise InputError(f"{address} cannot be fetched: {_harmless(error)}") from None

    def _upload(self, paths: Sequence[Path]) -> None:
        if self._out is None:
            return
        files, sent = self._out[0], []
        inside = [p for path in paths for p in (sorted(path.rglob("*")) if path.is_dir() else [path]) if p.is_file()]
        try:
            for path in inside:
                sent.append(self._key(path))
                files.put_file(str(path), sent[-1])
        except Exception as error:
            for key in sent:
                with contextlib.suppress(Exception):
                    files.rm_file(key)
            raise OutputError(f"{self.address(path)} cannot be written: {_harmless(error)}") from None

    def _key(self, path: Path) -> str:
        assert self._out is not None
        return f"{self._out[1]}/{path.relative_to(self._spool / 'out').as_posix()}"

    @staticmethod
    def _open(text: str, kind: type[InputError] | type[OutputError]) -> tuple[Any, str]:
        scheme = text.partition("://")[0].lower()
        try:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped]

            files, key = url_to_fs(text, use_listings_cache=False)
        except ImportError:
            raise MissingDependencyError(
                f'{scheme}:// needs {SCHEMES[scheme]}: pip install "vsalient[remote]" {SCHEMES[scheme]}'
            ) from None
        except Exception as error:
            raise kind(f"{shown(text)} cannot be reached: {_harmless(error)}") from None
        return files, str(key)


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEOS and not Path(name).name.startswith(".")


def _harmless(error: BaseException) -> str:
    """One line of an error, without what is secret."""
    text = one_line(error)
    for name in _SECRETS:
        secret = os.environ.get(name)
        if secret:
            text = text.replace(secret, "…")
    return re.sub(r"(?i)(signature|credential|token|secret|key)=[^&\s]+", r"\1=…", text)[:300]

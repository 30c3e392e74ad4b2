"""The manifest: what a rerun may rely on, whatever ended the run before."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from vsalient.errors import DataError, InputError, OptionError, OutputError
from vsalient.scale.identity import fingerprint, identify, measure_file
from vsalient.scale.manifest import ManifestWriter, check_settings, read_manifest


@dataclass(frozen=True)
class Settings:
    length: int
    tail: str = "shift"


def written(path: Path, output: Path, source: Path, settings: str = "aa") -> None:
    output.write_bytes(b"maps")
    with ManifestWriter(path, settings=settings, asked={"model": settings}) as writer:
        writer.begin(str(source), {"video": output})
        writer.end(str(source), "done", identity=identify(source), outputs={"video": output}, frames=3)


def test_what_is_done_stands_until_something_differs(tmp_path: Path) -> None:
    source, output, path = tmp_path / "in.mp4", tmp_path / "out.mp4", tmp_path / "run.jsonl"
    source.write_bytes(b"film")
    written(path, output, source)
    entry = read_manifest(path).entries[str(source)]
    outputs = {"video": output}
    assert entry.state == "done" and entry.attempts == 1 and entry.end is not None and entry.end["frames"] == 3
    assert entry.stands("aa", identify(source), outputs)
    assert not entry.stands("bb", identify(source), outputs), "other settings"
    assert not entry.stands("aa", identify(source), {"video": tmp_path / "else.mp4"}), "another place"
    assert not entry.stands("aa", identify(source), outputs | {"masks": tmp_path / "m"}), "more outputs"
    output.write_bytes(b"map")
    assert not entry.stands("aa", identify(source), outputs), "an output that was cut"
    output.write_bytes(b"maps")
    source.write_bytes(b"fil!")
    assert not entry.stands("aa", identify(source), outputs), "another film of the same length"


def test_a_torn_last_line_is_dropped_and_cut_off(tmp_path: Path) -> None:
    source, output, path = tmp_path / "in.mp4", tmp_path / "out.mp4", tmp_path / "run.jsonl"
    source.write_bytes(b"film")
    written(path, output, source)
    whole = path.read_bytes()
    for cut in (1, 7, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        manifest = read_manifest(path)
        assert manifest.torn and manifest.entries[str(source)].state == "interrupted"
        assert manifest.entries[str(source)].planned == (str(output),)
        ManifestWriter(path, settings="aa", asked={}).close()
        lines = path.read_bytes().splitlines()
        assert [json.loads(line)["record"] for line in lines] == ["run", "begin", "run"]


@pytest.mark.parametrize(
    "line",
    [b"garbage\n", b"[1]\n", b'{"schema":1}\n', b'{"record":"end","schema":1}\n', b"\x00\x00\n", b"[" * 9999 + b"\n"],
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(line)
    with pytest.raises(DataError, match="line 1 is no record"):
        read_manifest(path)
    path.write_bytes(b'{"record":"run","schema":2}\n')
    with pytest.raises(DataError, match="schema 2, this version reads 1"):
        read_manifest(path)


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with (
        ManifestWriter(path, settings="aa", asked={}),
        pytest.raises(OutputError, match="being written by another run"),
    ):
        ManifestWriter(path, settings="aa", asked={})
    with pytest.raises(OutputError, match=r"cannot be written: .*directory"):
        ManifestWriter(tmp_path, settings="aa", asked={})


def test_other_settings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    ManifestWriter(path, settings="aa", asked={"model": "scnn-s", "flip": True}).close()
    manifest = read_manifest(path)
    check_settings(manifest, "aa", {}, replace=False)
    check_settings(manifest, "bb", {}, replace=True)
    with pytest.raises(OptionError, match=r"flip: True there, None now"):
        check_settings(manifest, "bb", {"model": "scnn-s"}, replace=False)


def test_records_survive_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    program = (
        "import sys, itertools; from pathlib import Path; from vsalient.scale.manifest import ManifestWriter\n"
        f"writer = ManifestWriter(Path({str(path)!r}), settings='aa', asked={{}})\n"
        "for n in itertools.count():\n"
        "    writer.begin(str(n), {}); writer.end(str(n), 'done', outputs={}); print(n, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    entries = read_manifest(path).entries
    assert all(entries[str(number)].state == "done" for number in said)


def test_fingerprints_know_values_not_their_order_or_later_defaults() -> None:
    assert fingerprint({"a": 1, "b": Path("x")}) == fingerprint({"b": "x", "a": 1})
    assert fingerprint({"p": Settings(8)}) == fingerprint({"p": {"length": 8}})
    assert fingerprint({"p": Settings(8)}) != fingerprint({"p": Settings(8, "repeat-last")})
    assert fingerprint({"a": "\udcff"}) and fingerprint({"a": {1, 2}}) == fingerprint({"a": {2, 1}})


def test_identities(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(200_000))
    first = identify(large)
    assert first.size == 200_000
    with large.open("r+b") as file:
        file.seek(199_999)
        file.write(b"x")
    assert identify(large) != first
    folder = tmp_path / "frames"
    folder.mkdir()
    assert identify(folder).size == 0
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"png")
    before = identify(folder)
    (folder / ".hidden").write_bytes(b"x")
    assert identify(folder) == before and measure_file(folder) == 9
    (folder / "1.png").rename(folder / "7.png")
    assert identify(folder) != before
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no regular file"):
        identify(tmp_path / "pipe")
    assert measure_file(tmp_path / "missing") is None

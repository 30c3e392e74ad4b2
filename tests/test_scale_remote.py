"""Inputs and outputs by address, on a loopback S3."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import needs

needs("remote")

import s3fs
from werkzeug.serving import make_server

from media_files import read_pts
from tiny_model import install, write_clip
from vsalient.cli.app import main

SECRET = "verysecretverysecretverysecret00"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import DomainDispatcherApplication, create_backend_app

    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    install(monkeypatch, tmp_path / "home")
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem(use_listings_cache=False)
    if files.exists("films"):
        files.rm("films", recursive=True)
    files.mkdir("films")
    for number in range(3):
        files.put_file(str(write_clip(tmp_path / f"{number}.mp4", 5)), f"films/in/{number}.mp4")
    return files


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["predict", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def names(files: Any, folder: str) -> list[str]:
    return sorted(str(path) for path in files.find(folder))


def test_in_and_out_by_address(bucket: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("s3://films/in", "-w", "video,masks", "-o", "s3://films/out/") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:2] == ["s3://films/out/0_saliency.mp4", "s3://films/out/0_masks"]
    assert "s3://films/in/0.mp4: 5 frames" in printed.err and "vsalient-" not in printed.err
    found = names(bucket, "films/out")
    assert len(found) == 3 * 6 and "films/out/2_masks/00004.png" in found and "films/out/1_saliency.mp4" in found
    bucket.get_file("films/out/1_saliency.mp4", str(tmp_path / "got.mp4"))
    assert len(read_pts(tmp_path / "got.mp4")) == 5
    assert not list(tmp_path.glob("vsalient-*")), "nothing stays on the local disk"
    assert run("s3://films/in/*.mp4", "-o", "s3://films/out") == 1
    assert (
        capsys.readouterr().err.strip() == "Error: s3://films/out/0_saliency.mp4 exists: give --overwrite or another -o"
    )
    assert run("s3://films/in/1.mp4", "-o", "s3://films/{stem}/{kind}.{ext}", "--json") == 0
    (made,) = json.loads(capsys.readouterr().out)["inputs"]
    assert made["input"] == "s3://films/in/1.mp4" and made["outputs"] == {"video": "s3://films/1/video.mp4"}


def test_far_in_near_out_and_back(bucket: Any, tmp_path: Path) -> None:
    assert run("s3://films/in/0.mp4", "1.mp4", "-o", "near") == 0
    assert sorted(p.name for p in (tmp_path / "near").iterdir()) == ["0_saliency.mp4", "1_saliency.mp4"]
    assert run("2.mp4", "-o", "s3://films/far") == 0
    assert names(bucket, "films/far") == ["films/far/2_saliency.mp4"]


def test_what_fails_leaves_nothing_and_names_the_address(
    bucket: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.pipe_file("films/in/1.mp4", b"garbage")
    assert run("s3://films/in", "-o", "s3://films/out", "--keep-going") == 1
    error = capsys.readouterr().err
    assert "s3://films/in/1.mp4 is not a video" in error and "vsalient-" not in error
    assert names(bucket, "films/out") == ["films/out/0_saliency.mp4", "films/out/2_saliency.mp4"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["s3://films/none.mp4"], "s3://films/none.mp4 does not exist"),
        (["s3://films/in", "-o", "s3://nobucket/out"], "s3://nobucket/out cannot be written"),
        (["s3://nobucket/in"], "s3://nobucket/in"),
        (["gopher://films/in"], "the scheme gopher:// is unknown"),
        (["s3://films/in", "--manifest", "run.jsonl"], "do not go with s3://films/in"),
        (["s3://films/in", "-o", "s3://films/a.mp4"], "give a folder, or a template"),
    ],
)
def test_one_line_before_any_work(
    bucket: Any, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error and SECRET not in error, error


def test_a_storage_that_does_not_answer(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    assert run("s3://films/in/0.mp4") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "s3://films/in/0.mp4 cannot be" in error and SECRET not in error, error

"""Many videos on a real local Ray: the command and the data set, with a worker killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import needs
from media_files import read_pts
from tiny_model import for_children, install, write_clip
from vsalient.errors import OptionError
from vsalient.scale.manifest import read_manifest

PROGRAM = """
import json, sys
import ray
from vsalient.cli.app import main
from vsalient.ray import predict_dataset
ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="error")
films = ray.data.from_items([{"path": f"{sys.argv[1]}/in/{n}.mp4", "shot": n} for n in (0, 3)])
rows = list(predict_dataset(films, output=f"{sys.argv[1]}/set", write=["masks"]).iter_rows())
print(json.dumps([{k: str(v) for k, v in row.items()} for row in rows]), flush=True)
main(["predict", f"{sys.argv[1]}/in", "-o", f"{sys.argv[1]}/out", "--runner", "ray", "--jobs", "2",
      "--manifest", f"{sys.argv[1]}/run.jsonl", "--keep-going", "--json"])
"""


def kill_one_at_work(driver: int) -> bool:
    """SIGKILL one actor of the cluster that is at work on a film, with whatever runs below it left to itself."""
    lines = subprocess.run(["ps", "-wweo", "pid,ppid,args"], capture_output=True, text=True).stdout.splitlines()[1:]
    parents = {int(line.split()[0]): (int(line.split()[1]), line) for line in lines}
    for pid, (parent, line) in parents.items():
        if "--worker" in line and "vsalient" in line and _below(pid, driver, parents):
            os.kill(parent, signal.SIGKILL)
            return True
    return False


def _below(pid: int, root: int, parents: dict[int, tuple[int, str]]) -> bool:
    while pid in parents:
        if pid == root:
            return True
        pid = parents[pid][0]
    return False


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_and_the_data_set_on_a_local_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    needs("ray")
    install(monkeypatch, tmp_path / "home")
    for_children(monkeypatch, seconds=0.4)  # so that one is at work when it is looked for
    monkeypatch.setenv("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    (tmp_path / "in").mkdir()
    film = write_clip(tmp_path / "in/0.mp4", 20).read_bytes()
    for number in range(1, 6):
        (tmp_path / f"in/{number}.mp4").write_bytes(b"garbage" if number == 3 else film)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while not list((tmp_path / "out").glob("*.mp4")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    killed = kill_one_at_work(process.pid)
    out, error = process.communicate(timeout=240)
    assert process.returncode == 1, error
    # Ray, which this program has started itself, has its say on stdout too.
    rows = json.loads(next(line for line in out.splitlines() if line.startswith("[{")))
    summary, _ = json.JSONDecoder().raw_decode(out, out.index("\n{\n") + 1)
    assert {row["shot"]: row["state"] for row in rows} == {"0": "done", "3": "failed"}
    assert (
        len(list((tmp_path / "set/0_masks").iterdir())) == 20 and "not a video" in rows[1]["error"] + rows[0]["error"]
    )
    assert summary["failed"] == 1 and len(summary["inputs"]) == 6 and killed
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("."))
    assert names == [f"{n}_saliency.mp4" for n in (0, 1, 2, 4, 5)], "nothing is lost, nothing doubled"
    assert all(len(read_pts(tmp_path / "out" / name)) == 20 for name in names)
    entries = read_manifest(tmp_path / "run.jsonl").entries
    assert sorted(entry.state for entry in entries.values()) == ["done"] * 5 + ["failed"]


def test_options_are_checked_before_a_cluster_is_asked() -> None:
    needs("ray")
    from vsalient.ray import predict_dataset

    with pytest.raises(OptionError, match="verb 'train' is unknown"):
        predict_dataset(None, output="out", verb="train")
    with pytest.raises(OptionError, match="--write 'film' is unknown"):
        predict_dataset(None, output="out", write=["film"])

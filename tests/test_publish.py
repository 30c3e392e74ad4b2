"""`vsalient models publish`: the real Hub client against the loopback, and what it brings back to others."""

import json
import tomllib

import pytest

from checkpoint_helpers import entry, isolate, sha256, state
from loopback_hub import COMMIT, Loopback, loopback
from vsalient.checkpoints import entry_toml, plan_upload, publish_model, registry_toml, save_checkpoint
from vsalient.checkpoints.entries import Score, parse_entry
from vsalient.checkpoints.registry import read_registry
from vsalient.cli.app import main
from vsalient.errors import CheckpointError, OptionError, PublishError, WeightsError


@pytest.fixture
def hub(monkeypatch, tmp_path):
    isolate(monkeypatch, tmp_path)
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # Xet needs its own kind of server
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with loopback() as offered:
        monkeypatch.setenv("HF_ENDPOINT", offered.url)
        yield offered


@pytest.fixture
def model(tmp_path):
    """A folder as `vsalient train export` leaves it, with a stray file."""
    folder = tmp_path / "mine"
    folder.mkdir()
    made = entry("my-net", source="file", file="model.safetensors", scores=[SCORE], config={"channels": 1})
    save_checkpoint(folder / "model.safetensors", state(), made)
    (folder / "entry.toml").write_text(entry_toml(made))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# my-net\n")
    (folder / "last.ckpt").write_bytes(b"optimiser state")
    return folder


SCORE = {"dataset": "D, val", "metric": "J", "value": 0.5, "by": 'the "authors"'}


def cli(capsys, *args):
    with pytest.raises(SystemExit) as end:
        main(["models", *map(str, args)])
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_published_weights_come_back_by_the_printed_registry(hub: Loopback, model, tmp_path, capsys, monkeypatch):
    code, out, err = cli(capsys, "publish", model, "--repo", "me/my-net", "--token", "hf_writer")
    assert code == 0, err
    assert f"commit {COMMIT}" in err
    weights = (model / "model.safetensors").read_bytes()
    repository = hub.repos["me/my-net"]
    assert set(repository) == {"README.md", "entry.toml", "model.safetensors"}
    assert repository["model.safetensors"] == weights and sha256(weights) in hub.uploads.objects
    assert repository["README.md"] == (model / "README.md").read_bytes()
    assert hub.uploads.messages == ["Publish my-net"]
    (tmp_path / "registry.toml").write_text(out)
    monkeypatch.setenv("VSALIENT_WEIGHTS", str(tmp_path / "registry.toml"))
    code, out, err = cli(capsys, "fetch", "my-net", "-q", "--json")
    assert code == 0, err
    assert json.loads(out)[0]["sha256"] == sha256(weights)
    assert json.loads(cli(capsys, "info", "my-net", "--json")[1])["scores"] == [{**SCORE, "note": ""}]


def test_dry_run_shows_all_and_asks_no_network(hub: Loopback, model, capsys):
    code, out, err = cli(capsys, "publish", model, "--repo", "me/my-net", "--dry-run")
    assert code == 0 and hub.requests == []
    assert "README.md" in err and "last.ckpt" not in err and "would be uploaded to me/my-net" in err
    table = tomllib.loads(out)["my-net"]
    assert (table["repo"], table["revision"]) == ("me/my-net", "0" * 40)
    told = json.loads(cli(capsys, "publish", model, "--repo", "me/my-net", "--dry-run", "--json")[1])
    assert told["dry_run"] and "revision" not in told["entry"]
    assert [file["path"] for file in told["files"]] == ["README.md", "entry.toml", "model.safetensors"]


def test_a_second_upload_goes_into_the_same_repository(hub: Loopback, model):
    upload = plan_upload(model, "me/my-net")
    publish_model(upload, token="hf_writer", private=True)
    (model / "README.md").write_text("# better\n")
    there = publish_model(plan_upload(model, "me/my-net"), token="hf_writer", message="Correct the card")
    assert there.revision == COMMIT
    assert len(hub.uploads.created) == 1
    asked = hub.uploads.created[0]
    assert asked.get("visibility") == "private" or asked.get("private") is True  # by the client's age
    assert hub.repos["me/my-net"]["README.md"] == b"# better\n"
    assert hub.uploads.messages == ["Publish my-net", "Correct the card"]


def test_the_token_comes_from_the_environment_too(hub: Loopback, model, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    publish_model(plan_upload(model, "me/my-net"))
    assert "me/my-net" in hub.repos


def test_without_a_token_nothing_is_asked(hub: Loopback, model, capsys):
    code, out, err = cli(capsys, "publish", model, "--repo", "me/my-net")
    assert code == 1 and out == "" and hub.requests == []
    assert "needs a token that may write; set HF_TOKEN or give --token" in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token": "other"}, "HTTP 401, Invalid username or password.): give a valid token"),
        ({"owners": ("somebody",)}, "HTTP 403, You don't have the rights to create a model under me/my-net"),
        ({"refuse": {"POST /api/models/me/my-net/commit": (500, "Internal")}}, "HTTP 500"),
        ({"refuse": {"POST /api/models/me/my-net/preupload": (413, "Too big")}}, "too large for this server"),
        ({"refuse": {"POST /me/my-net.git/info/lfs": (403, "Quota")}}, "give a token that may write to me"),
        ({"bad_card": '"license" must be one of'}, 'refuses the head of README.md (Invalid metadata'),
    ],
)  # fmt: skip
def test_the_hub_s_refusals_are_one_line(hub: Loopback, model, capsys, change, message):
    for name, value in change.items():
        setattr(hub.uploads, name, value)
    code, out, err = cli(capsys, "publish", model, "--repo", "me/my-net", "--token", "hf_writer", "-q")
    assert code == 1 and out == ""
    assert message in err and err.count("\n") == 1 and "cannot publish to me/my-net" in err


def test_an_unreachable_host_is_one_line(hub: Loopback, model, capsys):
    code, _, err = cli(
        capsys, "publish", model, "--repo", "me/x", "--token", "t", "-q", "--endpoint", "http://127.0.0.1:9"
    )
    assert code == 1 and "check the network" in err and err.count("\n") == 1


def test_names_the_hub_cannot_have_are_refused(hub: Loopback, model):
    with pytest.raises(PublishError, match="no name the Hub accepts"):
        publish_model(plan_upload(model, "me/--no"), token="hf_writer")
    for repo in ("my-net", "me/", "/x", "a/b/c"):
        with pytest.raises(OptionError, match="USER/NAME"):
            plan_upload(model, repo)


def test_only_complete_and_honest_folders_are_published(model):
    (model / "model.safetensors").rename(model / "kept")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        plan_upload(model, "me/my-net")
    (model / "model.safetensors").write_bytes(b"\x80\x02 a pickle")
    with pytest.raises(CheckpointError, match="no safetensors"):
        plan_upload(model, "me/my-net")
    (model / "kept").rename(model / "model.safetensors")
    text = (model / "entry.toml").read_text()
    (model / "entry.toml").write_text(f'sha256 = "{"0" * 64}"\n{text}')
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        plan_upload(model, "me/my-net")
    (model / "entry.toml").write_text(text.replace('licence = "MIT"', 'licence = "not stated"'))
    with pytest.raises(WeightsError, match="states no licence"):
        plan_upload(model, "me/my-net")
    (model / "README.md").unlink()
    with pytest.raises(WeightsError, match=r"has no README\.md"):
        plan_upload(model, "me/my-net")


def test_a_registry_table_reads_back_as_it_was(tmp_path):
    made = parse_entry(
        "net-1.5",
        {
            "summary": 'with "quotes" and\nlines',
            "architecture": "tiny",
            "config": {"channels": 2, "names": ["a", "b"]},
            "clip_length": 4,
            "overlap": 1,
            "geometry": "native",
            "licence": "MIT",
            "source": "hub",
            "repo": "me/net",
            "revision": COMMIT,
            "file": "model.safetensors",
            "sha256": "0" * 64,
            "scores": [SCORE],
        },
        origin=tmp_path / "registry.toml",
    )
    (tmp_path / "registry.toml").write_text("schema = 1\n" + registry_toml(made))
    assert read_registry(tmp_path / "registry.toml")["net-1.5"] == made
    assert made.scores == (Score(**SCORE),)

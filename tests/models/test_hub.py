"""Models of a hub: the real client against a server on this machine, by name, by revision, offline, with a token."""

import json
import shutil

import pytest
from huggingface_hub import constants

from lorag import build
from lorag.errors import FetchError, InputError, UnknownNameError
from lorag.models import naming
from lorag.models.hub import HubName, snapshot


@pytest.fixture
def repository(tmp_path):
    """A folder like a model's: configuration, weights, a pickle of the same weights."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "README.md"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    return folder


def test_a_model_is_fetched_without_its_pickles_and_found_again_offline(local_hub, repository, monkeypatch):
    commit = local_hub.publish("owner/name", repository)
    seen = []
    found = snapshot(HubName("owner/name"), progress=lambda *told: seen.append(told))
    assert str(found.name) == f"owner/name@{commit}"
    assert {stage for stage, *_ in seen} == {"downloading owner/name"}
    assert sorted(path.name for path in found.place.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    asked = len(local_hub.requests)
    assert snapshot(found.name) == found
    assert len(local_hub.requests) == asked  # a commit is the same for ever: nobody is asked
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert snapshot(HubName("owner/name")) == found
    assert len(local_hub.requests) == asked


def test_a_name_is_pinned_to_its_commit_so_that_it_always_means_the_same_weights(local_hub, repository, tmp_path):
    first = local_hub.publish("owner/name", repository, "v1")
    newer = tmp_path / "newer"
    shutil.copytree(repository, newer)
    (newer / "model.safetensors").write_bytes(b"other weights")
    second = local_hub.publish("owner/name", newer)
    assert build.model_name("owner/name") == f"owner/name@{second}"
    assert build.model_name("owner/name@v1") == f"owner/name@{first}"
    old = naming.resolve(f"owner/name@{first}", "llm")
    assert (old / "model.safetensors").read_bytes() == b"weights"
    with pytest.raises(InputError, match=r"owner/name@v3 names a revision that http.* does not have"):
        build.model_name("owner/name@v3")


def test_a_private_model_needs_the_token(local_hub, repository, monkeypatch):
    local_hub.publish("owner/private", repository, token="hf_secret")
    with pytest.raises(
        InputError, match=r"has no such model, or does not show it to you: .*HF_TOKEN.*catalogue"
    ) as refused:
        snapshot(HubName("owner/private"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert snapshot(HubName("owner/private")).place.is_dir()
    assert "hf_secret" not in str(refused.value)


def test_a_gated_model_says_where_to_ask(local_hub, repository):
    local_hub.publish("owner/gated", repository, gated=True)
    with pytest.raises(InputError, match=r"ask for it on http.*/owner/gated, then log in with `hf auth login`"):
        snapshot(HubName("owner/gated"))


def test_a_listed_file_that_is_missing_is_named(local_hub, repository):
    local_hub.publish("owner/torn", repository, missing=("model.safetensors",))
    with pytest.raises(FetchError, match=r"lists a file of owner/torn that it does not have"):
        snapshot(HubName("owner/torn"))


def test_a_model_that_is_here_needs_no_hub(local_hub, repository):
    local_hub.publish("owner/name", repository)
    found = snapshot(HubName("owner/name"))
    local_hub.shutdown()
    local_hub.server_close()
    assert snapshot(HubName("owner/name")) == found


def test_without_a_hub_the_mirror_settings_and_the_catalogue_are_named(local_hub, monkeypatch):
    local_hub.shutdown()
    local_hub.server_close()
    expected = (
        r"owner/name is not a folder here and not complete in your cache, and http.* cannot be reached \(.+\); set"
    )
    with pytest.raises(FetchError, match=rf"{expected}.*lorag models list"):
        snapshot(HubName("owner/name"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FetchError, match="HF_HUB_OFFLINE is set"):
        snapshot(HubName("owner/name"))


def test_a_fetch_that_broke_off_is_not_taken_for_a_model(local_hub, repository, monkeypatch):
    local_hub.publish("owner/name", repository)
    (snapshot(HubName("owner/name")).place / "model.safetensors").unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FetchError, match="not complete in your cache"):
        snapshot(HubName("owner/name"))


def test_shards_may_be_called_as_the_index_has_them(local_hub, repository):
    (repository / "model.safetensors").unlink()
    shards = [f"model.safetensors-0000{part}-of-00002.safetensors" for part in (1, 2)]
    for name in (*shards, "optimizer.safetensors"):
        (repository / name).write_bytes(b"weights")
    index = {"weight_map": {"a": shards[0], "b": shards[1], "c": "pytorch_model.bin"}}
    (repository / "model.safetensors.index.json").write_text(json.dumps(index))
    local_hub.publish("owner/named", repository)
    found = snapshot(HubName("owner/named")).place
    assert sorted(path.name for path in found.glob("*.safetensors")) == shards
    assert not (found / "pytorch_model.bin").exists()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (("pytorch_model.bin",), r"as pytorch_model\.bin only, a format that can run code"),
        (("adapter_config.json", "adapter_model.safetensors"), "is an adapter, not a model"),
        ((), r"holds no weights \(1 files\)"),
        (("a.Q4_K_M.gguf", "a.Q4_K_M-v2.gguf"), r"holds 2 GGUF files .*owner/odd:Q4_K_M"),
        (("a-00001-of-00002.gguf", "a-00002-of-00002.gguf"), "holds 2 GGUF files"),
        (("a.Q4_K_M-00001-of-00002.gguf", "a.Q4_K_M-00002-of-00002.gguf"), "keeps its GGUF in 2 parts"),
    ],
)
def test_a_repository_with_nothing_that_is_loaded_is_refused_with_the_reason(local_hub, tmp_path, files, reason):
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in ("config.json", *files):
        (folder / name).write_text("{}")
    local_hub.publish("owner/odd", folder)
    with pytest.raises(InputError, match=reason):
        snapshot(HubName("owner/odd"))
    assert not any("GET" in asked and asked.endswith((".bin", ".gguf")) for asked in local_hub.requests)


def test_one_of_several_gguf_files_is_picked_by_its_quantisation(local_hub, tmp_path):
    folder = tmp_path / "quantised"
    folder.mkdir()
    for name in ("a-q4_k_m.gguf", "a-q8_0.gguf"):
        (folder / name).write_text(name)
    commit = local_hub.publish("owner/a-GGUF", folder)
    assert naming.located("owner/a-GGUF", "llm").read_text() == "a-q4_k_m.gguf"
    assert naming.located("owner/a-GGUF:Q8_0", "llm").read_text() == "a-q8_0.gguf"
    assert build.model_name("owner/a-GGUF:Q8_0") == f"owner/a-GGUF@{commit}:Q8_0"


def test_an_embedder_comes_as_onnx_where_there_is_one_unless_it_is_to_be_trained(local_hub, repository):
    (repository / "onnx").mkdir()
    (repository / "1_Pooling").mkdir()
    (repository / "1_Pooling" / "config.json").write_text("{}")
    (repository / "onnx" / "model.onnx").write_text("graph")
    local_hub.publish("owner/embedder", repository)
    quick = snapshot(HubName("owner/embedder"), "embedder").place
    assert (quick / "onnx" / "model.onnx").is_file()
    assert (quick / "1_Pooling" / "config.json").is_file()
    assert not (quick / "model.safetensors").exists()
    assert (snapshot(HubName("owner/embedder"), "embedder", trainable=True).place / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("name", "form"),
    [("smollm2-135m", "catalogue"), ("Qwen/Qwen3-0.6B", "hub"), ("Qwen/Qwen3-0.6B@refs/pr/1", "hub")],
)
def test_a_name_is_read_without_a_network(name, form):
    assert naming.form_of(name) == form


def test_what_is_no_name_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean smollm2-135m"):
        naming.form_of("smollm2")
    with pytest.raises(InputError, match=r"there is no file .*; give the path of a GGUF file"):
        naming.form_of(str(tmp_path / "a.gguf"))
    (tmp_path / "a.gguf").touch()
    with pytest.raises(InputError, match=r"folder without config\.json.*name the file .*a\.gguf' in it"):
        naming.form_of(str(tmp_path))
    with pytest.raises(InputError, match="is not the name of a hub model, expected OWNER/NAME"):
        naming.resolve("owner/na--me", "llm")


def test_a_model_of_ollama_is_reached_at_its_local_address(monkeypatch):
    from lorag.llm.engines.openai import Address

    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    assert build.is_remote("ollama:llama3.2:1b")
    assert Address.parse("ollama:llama3.2:1b") == Address("llama3.2:1b", "http://127.0.0.1:11434/v1")
    for host, url in {
        "0.0.0.0": "http://127.0.0.1:11434/v1",
        "box:8080": "http://box:8080/v1",
        "https://box.example": "https://box.example:443/v1",
    }.items():
        monkeypatch.setenv("OLLAMA_HOST", host)
        assert Address.parse("ollama:qwen3").url == url
    with pytest.raises(InputError, match=r"expected openai:MODEL@URL.*or ollama:MODEL"):
        build.model_name("ollama:")


def test_the_code_of_a_repository_is_never_run(tmp_path):
    from lorag.errors import ModelError
    from lorag.models.tokenizer import load_tokenizer

    ran = tmp_path / "ran"
    (tmp_path / "own.py").write_text(f"open({str(ran)!r}, 'w')")
    config = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoTokenizer": ["own.Own", None]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["own.Own", None]}}))
    with pytest.raises(ModelError):
        load_tokenizer(tmp_path)
    assert not ran.exists()

"""An index in an object store beyond what every index promises: states, machines, a killed writer, what goes wrong."""

import hashlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from typer.testing import CliRunner

import lorag
from harbour import CHUNKS, DIM, HOURS, PLANS, RETRIEVAL, WARRANTY, CountingHashes, document
from lorag.cli.commands import app
from lorag.errors import InputError, StoreError
from lorag.retrieval.backends import s3_index
from lorag.retrieval.backends.location import replacing
from lorag.retrieval.backends.s3_bucket import Bucket
from lorag.retrieval.backends.s3_index import Head
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.encoders.vector_cache import CachedEmbedder
from lorag.retrieval.knowledge import Knowledge, SyncReport
from lorag.settings import RetrievalSettings

MANY = [document(f"d{i:02}", f"water level number{i}") for i in range(40)]


def opened(place, embedder=None):
    return Knowledge.open(place, embedder or HashEmbedder(DIM), CHUNKS, RETRIEVAL)


def head(url):
    bucket = Bucket(url)
    found = bucket.read("head.json")
    assert found is not None
    return Head.read(bucket, *found)


def objects(url):
    return set(Bucket(url).names("objects"))


def named(*heads):
    return {name for each in heads for name, _ in each.files.values()}


@pytest.fixture
def on(tmp_path, monkeypatch):
    """In its block this process is another machine, which has copies of its own."""

    @contextmanager
    def machine(name):
        with monkeypatch.context() as patched:
            patched.setattr(s3_index, "copies_folder", lambda: tmp_path / name)
            yield

    return machine


def test_it_holds_and_finds_what_the_same_documents_in_a_folder_do(tmp_path, bucket_url):
    settings = RetrievalSettings(candidates=100)  # all there are: of equally near ones, any may be among the nearest
    folder, bucket = (
        Knowledge.open(place, HashEmbedder(DIM), CHUNKS, settings) for place in (tmp_path / "index", bucket_url)
    )
    for documents in ([WARRANTY, PLANS, *MANY[:20]], [PLANS, HOURS, *MANY], [HOURS, *MANY[10:], WARRANTY]):
        assert bucket.sync(documents) == folder.sync(documents)
        assert bucket.entries() == folder.entries()
        assert bucket.chunks() == folder.chunks()
        asked = ["water level", "number7 warranty", "When does support answer?", "two years"]
        assert bucket.retrieve(asked, 9) == folder.retrieve(asked, 9)


def test_only_new_files_are_sent_and_only_what_is_needed_stays(bucket_url):
    knowledge = opened(bucket_url)
    knowledge.sync(MANY)
    before = head(bucket_url)
    knowledge.sync(MANY)
    assert head(bucket_url) == before
    Bucket(bucket_url).swap("objects/left-by-a-killed-writer", b"x", None)
    knowledge.sync([*MANY, WARRANTY])
    after = head(bucket_url)
    assert any(path.startswith("store/chunks.lance/data/") for path in before.files.keys() & after.files.keys())
    assert objects(bucket_url) == named(before, after)
    knowledge.sync([*MANY, WARRANTY, PLANS])
    assert objects(bucket_url) == named(after, head(bucket_url))


def test_states_that_merging_left_behind_are_not_sent(bucket_url):
    knowledge = opened(bucket_url)
    for count in range(1, 12):
        knowledge.sync(MANY[:count])
    assert len(head(bucket_url).files) < 40
    with replacing(bucket_url) as fresh:
        rebuilt = opened(fresh)
        for count in range(1, 12):
            rebuilt.sync(MANY[:count])
    assert len(head(bucket_url).files) < 15


def test_a_writer_changes_nothing_in_the_copy_that_is_searched(tmp_path, bucket_url):
    def hashes():
        files = [path for path in (tmp_path / "copies").glob("*/*/**/*") if path.is_file()]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if "draft" not in path.parts}

    knowledge = opened(bucket_url)
    knowledge.sync(MANY)
    before = hashes()
    knowledge.sync([*MANY[:5], *(document(each.id, f"{each.text} changed") for each in MANY[5:]), HOURS])
    assert before.items() < hashes().items()


def test_of_two_machines_that_write_at_once_one_is_refused(on, bucket_url):
    class Interrupted(CountingHashes):
        def embed(self, texts, kind):
            if kind == "passage" and not self.passages:
                with on("first"):
                    opened(bucket_url).sync([WARRANTY, PLANS])
            return super().embed(texts, kind)

    with on("first"):
        opened(bucket_url).sync([WARRANTY])
    second = opened(bucket_url, Interrupted())
    said = f"another process wrote to {bucket_url} in the meantime, so this change was not stored; run the same command"
    with pytest.raises(StoreError, match=said):
        second.sync([HOURS])
    for machine in ("copies", "first", "third"):
        with on(machine):
            assert opened(bucket_url).documents() == ["plans", "warranty"]
            assert len(opened(bucket_url).retrieve(["warranty plan"], 9)[0]) == 3
    assert second.sync([HOURS]) == SyncReport(1, 0, 2, 0, 1)
    with on("first"):
        assert opened(bucket_url).retrieve(["warranty plan"], 9) == second.retrieve(["warranty plan"], 9)
        assert opened(bucket_url).documents() == ["hours"]


def test_of_two_rebuilds_at_once_one_is_refused(on, bucket_url):
    opened(bucket_url).sync([WARRANTY])

    def rebuild():
        with replacing(bucket_url) as fresh:
            opened(fresh).sync([HOURS])
            with on("other"), replacing(bucket_url) as earlier:
                opened(earlier).sync([PLANS])

    with pytest.raises(StoreError, match="another process wrote to"):
        rebuild()
    assert opened(bucket_url).documents() == ["plans"]


def test_a_reader_refuses_what_was_rebuilt_with_another_embedder_of_the_same_width(bucket_url):
    reader, other = opened(bucket_url), HashEmbedder(DIM)
    reader.sync([WARRANTY])
    other.name = other.identity = "another"
    with replacing(bucket_url) as fresh:
        opened(fresh, other).sync([WARRANTY])
    with pytest.raises(StoreError, match=r"another.*--rebuild"):
        reader.retrieve(["warranty"], 1)


def test_a_head_that_arrived_although_it_was_sent_twice_is_not_taken_for_another_writers(bucket_url, monkeypatch):
    swap = Bucket.swap

    def sent_twice(self, name, data, e_tag):
        first = swap(self, name, data, e_tag)
        return swap(self, name, data, e_tag) if name == "head.json" else first

    monkeypatch.setattr(Bucket, "swap", sent_twice)
    assert opened(bucket_url).sync([WARRANTY]).added == 1
    assert opened(bucket_url).documents() == ["warranty"]


# Its cache has room for nothing: what a killed sync has embedded is kept all the same.
WRITER = """
import os, signal, sys
from pathlib import Path
from lorag.retrieval.backends import s3_index
from lorag.retrieval.backends.s3_bucket import Bucket
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.encoders.vector_cache import CachedEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import ChunkSettings, RetrievalSettings
from lorag.types import Document

folder, url, when = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
s3_index.copies_folder = lambda: folder / "copies"

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class Dying(HashEmbedder):
    def embed(self, texts, kind):
        return die() if when == "embedding" and "number39" in " ".join(texts) else super().embed(texts, kind)

send, swap, delete, sent = Bucket.send, Bucket.swap, Bucket.delete, []
if when == "sending":
    Bucket.send = lambda self, path, name: die() if sent else sent.append(send(self, path, name))
if when == "before the head":
    Bucket.swap = lambda self, name, *rest: die() if name == "head.json" else swap(self, name, *rest)
if when == "after the head":
    Bucket.delete = die
documents = [Document(f"d{i:02}", f"water level number{i}", f"d{i:02}.md") for i in range(40)]
knowledge = Knowledge.open(
    url, CachedEmbedder(Dying(64), folder / "vectors.sqlite", 1), ChunkSettings(max_tokens=16), RetrievalSettings()
)
import lorag.retrieval.knowledge as module
module._EMBED_CHUNKS = 8
knowledge.sync(documents)
"""


@pytest.mark.parametrize(
    ("when", "embedded"), [("embedding", 8), ("sending", 0), ("before the head", 0), ("after the head", 0)]
)
def test_a_killed_writer_leaves_the_old_state_or_the_new_one(tmp_path, on, bucket_url, when, embedded):
    opened(bucket_url).sync([WARRANTY])
    killed = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), bucket_url, when], check=False)
    assert killed.returncode == -signal.SIGKILL
    done = when == "after the head"
    with on("other"):
        assert opened(bucket_url).documents() == ([each.id for each in MANY] if done else ["warranty"])
        assert len(opened(bucket_url).retrieve(["water"], 40)[0]) == (40 if done else 2)
    model = CountingHashes()
    knowledge = opened(bucket_url, CachedEmbedder(model, tmp_path / "vectors.sqlite", 1))
    assert knowledge.sync(MANY).unchanged == (40 if done else 0)
    assert len(model.passages) == embedded
    assert knowledge.sync([*MANY, HOURS]).added == 1
    with on("other"):
        assert opened(bucket_url).retrieve(["water"], 41) == knowledge.retrieve(["water"], 41)
    assert not list((tmp_path / "copies").glob("*/draft"))


def test_after_the_next_publication_nothing_of_a_killed_writer_is_left(tmp_path, bucket_url):
    opened(bucket_url).sync([WARRANTY])
    subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), bucket_url, "before the head"], check=False)
    before = head(bucket_url)
    assert objects(bucket_url) - named(before)
    opened(bucket_url).sync([WARRANTY, PLANS])
    assert objects(bucket_url) == named(before, head(bucket_url))


def test_a_state_that_is_deleted_while_it_is_copied_is_given_up_for_the_next(on, bucket_url, monkeypatch):
    writer, fetch = opened(bucket_url), Bucket.fetch
    syncs: list[str] = []
    writer.sync([WARRANTY])

    def overtaken(self, name, path, size):
        if not syncs:
            syncs.append(name)
            with on("copies"):
                for documents in ([PLANS], [PLANS, HOURS], [HOURS]):
                    writer.sync(documents)
        fetch(self, name, path, size)

    monkeypatch.setattr(Bucket, "fetch", overtaken)
    with on("other"):
        assert opened(bucket_url).documents() == ["hours"]


def test_a_copy_takes_what_an_unfinished_one_and_older_ones_hold(on, bucket_url, monkeypatch):
    writer, fetch = opened(bucket_url), Bucket.fetch
    fetched: list[str] = []
    writer.sync(MANY)

    def failing(self, name, path, size):
        if len(fetched) == 5:
            raise KeyboardInterrupt
        fetch(self, name, path, size)
        fetched.append(name)

    with on("other"), monkeypatch.context() as patched:
        patched.setattr(s3_index, "_AT_ONCE", 1)
        patched.setattr(Bucket, "fetch", failing)
        with pytest.raises(KeyboardInterrupt):
            opened(bucket_url)

    def counted(self, name, path, size):
        fetched.append(name)
        fetch(self, name, path, size)

    monkeypatch.setattr(Bucket, "fetch", counted)
    with on("other"):
        assert len(opened(bucket_url).retrieve(["water"], 40)[0]) == 40
    assert sorted(fetched) == sorted(named(head(bucket_url)))
    before = head(bucket_url)
    writer.sync([*MANY, HOURS])
    fetched.clear()
    with on("other"):
        assert len(opened(bucket_url).documents()) == 41
    assert set(fetched) == named(head(bucket_url)) - named(before)


def test_copies_of_older_states_are_dropped_an_hour_after_their_last_use(tmp_path, on, bucket_url):
    (tmp_path / "other").mkdir()

    def copies(place):
        return {path.name for path in (tmp_path / place).glob("*/*/") if path.is_dir()}

    writer, states = opened(bucket_url), []
    for documents in ([WARRANTY], [PLANS], [HOURS]):
        writer.sync(documents)
        states.append(head(bucket_url).id)
        with on("other"):
            assert opened(bucket_url).count() > 0
        if len(states) == 2:
            for old in (path for place in ("copies", "other") for path in (tmp_path / place).glob("*/*/")):
                if old.name != states[1]:
                    os.utime(old, (0, 0))
    assert copies("other") == copies("copies") == set(states[1:])


def test_a_copy_in_use_counts_as_used_before_another_process_may_drop_it(tmp_path, bucket_url):
    knowledge = opened(bucket_url)
    knowledge.sync([WARRANTY])
    assert knowledge.count() == 2
    (copy,) = (tmp_path / "copies").glob(f"*/{head(bucket_url).id}")
    os.utime(copy, (0, 0))
    knowledge.retrieve(["warranty"], 1)
    assert copy.stat().st_mtime > 0


def damage_file(bucket, state):
    name, _ = state.files["manifest.sqlite"]
    found = bucket.read(name)
    bucket.swap(name, b"junk" * (len(found[0]) // 4), found[1])


def delete_file(bucket, state):
    bucket.delete([name for path, (name, _) in state.files.items() if "/data/" in path])


def damage_head(bucket, state):
    bucket.swap("head.json", b"{}", state.e_tag)


def lead_out_of_the_folder(bucket, state):
    files = {"../../escaped": next(iter(state.files.values()))}
    bucket.swap("head.json", json.dumps({"format": 1, "id": state.id, "files": files}).encode(), state.e_tag)


def of_a_newer_version(bucket, state):
    bucket.swap("head.json", json.dumps({"format": 2, "id": state.id, "files": {}}).encode(), state.e_tag)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_file, "is damaged: objects/.* does not hold what was written; rebuild"),
        (delete_file, "lacks a file; rebuild it with `lorag index DOCS --store s3://tests/.*/index --rebuild`"),
        (damage_head, r"head.json of .* cannot be read; .*`lorag index DOCS --store s3://tests/.* --rebuild`"),
        (lead_out_of_the_folder, "head.json of .* cannot be read"),
        (of_a_newer_version, "head.json of .* of a newer Lorag"),
    ],
)
def test_a_damaged_index_is_refused_and_a_rebuild_repairs_it(tmp_path, on, bucket_url, damage, said):
    opened(bucket_url).sync([WARRANTY])
    damage(Bucket(bucket_url), head(bucket_url))
    with on("other"):
        with pytest.raises(StoreError, match=said):
            opened(bucket_url)
        assert not list(tmp_path.rglob("escaped"))
        with replacing(bucket_url) as fresh:
            opened(fresh).sync([PLANS])
        assert opened(bucket_url).documents() == ["plans"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: os.truncate(file, file.stat().st_size // 2)])
def test_a_copy_that_lost_a_file_or_a_part_of_one_is_made_again(tmp_path, on, bucket_url, damage):
    opened(bucket_url).sync(MANY)
    state = head(bucket_url)
    with on("other"):
        assert len(opened(bucket_url).retrieve(["water"], 40)[0]) == 40
        for kind in ("manifest.sqlite", "*.lance"):
            damage(next(file for file in (tmp_path / "other").rglob(kind) if file.is_file()))
            assert len(opened(bucket_url).retrieve(["water"], 40)[0]) == 40
    assert head(bucket_url) == state


def test_an_index_that_was_deleted_is_missed(bucket_url):
    knowledge = opened(bucket_url)
    Bucket(bucket_url).delete(["head.json"])
    with pytest.raises(StoreError, match=r"is gone; make it with `lorag index DOCS --store s3://tests/"):
        knowledge.retrieve(["x"], 1)


def shown(*arguments):
    """The one line that the command shows, which has no traceback and no secret."""
    done = subprocess.run([sys.executable, "-m", "lorag", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1), done.stderr
    assert "hush" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("environment", "place", "said"),
    [
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
            None,
            r"cannot read s3://.* \(127.0.0.1:1: no answer\); check",
        ),
        ({"AWS_ENDPOINT_URL": "http://me:hush@host"}, None, "AWS_ENDPOINT_URL cannot be read; expected http://HOST"),
        ({}, "s3://nowhere/index", "s3://nowhere/index: there is no such bucket at 127.0.0.1:.*; make it, or check"),
        ({}, "s3://me:hush@tests/index", "the address of the bucket cannot be read; expected s3://BUCKET/PREFIX"),
        ({}, "s3://tests/../index", "the address of the bucket cannot be read; expected s3://BUCKET/PREFIX"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_in_one_line(bucket_url, monkeypatch, environment, place, said):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises((InputError, StoreError), match=said):
        opened(place or bucket_url)
    shown("search", "x", "--store", place or bucket_url)


def asked(address, body, **headers):
    with urlopen(Request(address, body.encode(), headers, method="POST")) as answer:
        return answer.read().decode()


def iam(address, **parameters):
    """What the server's management of users answers; it takes its own name from the scope of the signature."""
    scope = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x"
    return asked(address, urlencode({"Version": "2010-05-08", **parameters}), Authorization=scope)


@pytest.fixture
def reader(s3_server, bucket_url, monkeypatch):
    """The secret of a user who may only read, on the server that checks keys while the test runs."""

    def check(count):
        asked(f"{s3_server}/moto-api/reset-auth", count, **{"Content-Type": "text/plain"})

    user = f"reader-{secrets.token_hex(4)}"
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam(s3_server, Action="CreateUser", UserName=user)
    iam(s3_server, Action="PutUserPolicy", UserName=user, PolicyName="read", PolicyDocument=policy)
    keys = iam(s3_server, Action="CreateAccessKey", UserName=user)
    key, secret = (re.findall(f"<{name}>(.*)</{name}>", keys)[0] for name in ("AccessKeyId", "SecretAccessKey"))
    opened(bucket_url).sync([WARRANTY])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    check("0")
    yield secret
    check("inf")


def test_whoever_may_only_read_searches_and_is_told_what_indexing_needs(on, bucket_url, reader):
    with on("other"):
        assert opened(bucket_url).documents() == ["warranty"]
        model = CountingHashes()
        for write in (lambda: opened(bucket_url, model).sync([PLANS]), lambda: opened(f"{bucket_url}/new", model)):
            with pytest.raises(StoreError, match=r"may not write .*AccessDenied.* s3:GetObject .* s3:PutObject"):
                write()
        assert model.passages == [], "it is refused before anything is embedded"


def test_wrong_keys_and_missing_ones_are_named_without_the_secret(bucket_url, reader, monkeypatch):
    for name, value, said in (
        (
            "AWS_SECRET_ACCESS_KEY",
            "hush",
            r"refuses the credentials \(SignatureDoesNotMatch\); check AWS_ACCESS_KEY_ID",
        ),
        ("AWS_ACCESS_KEY_ID", "nobody", r"refuses the credentials \(InvalidAccessKeyId\); check AWS_ACCESS_KEY_ID"),
    ):
        monkeypatch.setenv(name, value)
        with pytest.raises(StoreError, match=said) as caught:
            opened(bucket_url)
        assert reader not in str(caught.value)
        shown("search", "x", "--store", bucket_url)


class Unconditional(BaseHTTPRequestHandler):
    """Stores what it is sent, whatever the condition."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        body = b"<Error><Code>NoSuchKey</Code></Error>"
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_server_that_ignores_conditions_is_refused(bucket_url, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Unconditional) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(StoreError, match="ignores If-None-Match or If-Match, so two writers would overwrite each"):
            opened(bucket_url)
        server.shutdown()


def test_files_that_may_not_be_deleted_are_a_warning(bucket_url, monkeypatch):
    def refused(self, names):
        raise StoreError("it must not be deleted")

    knowledge = opened(bucket_url)
    monkeypatch.setattr(Bucket, "delete", refused)
    with pytest.warns(UserWarning, match="the index is written, but files of older states are left over: it must not"):
        knowledge.sync([WARRANTY])
    assert knowledge.documents() == ["warranty"]


def test_without_the_extra_it_is_named_and_without_a_bucket_it_is_not_loaded(tmp_path):
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from lorag.retrieval.backends.location import holds_index\n"
        "from lorag.errors import MissingExtraError\n"
        f"print(holds_index({str(tmp_path)!r}))\n"
        "try: holds_index('s3://bucket/index')\n"
        "except MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "False",
        "an index in an object store needs the package 'obstore'; install it with `pip install 'lorag[s3]'`",
    ]


def test_every_command_takes_the_address(tmp_path, bucket_url, embedder):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "warranty.md").write_text(WARRANTY.text)
    runner = CliRunner()
    missing = runner.invoke(app, ["search", "x", "--store", bucket_url])
    assert missing.exit_code == 2
    assert "there is no index yet" in missing.output
    made = runner.invoke(app, ["index", str(tmp_path / "docs"), "--store", bucket_url])
    assert made.exit_code == 0, made.output
    assert f"1 passages in {bucket_url}" in " ".join(made.output.split())
    found = runner.invoke(app, ["search", "how long is the warranty", "--store", bucket_url, "--json"])
    assert found.exit_code == 0, found.output
    assert "two years" in found.output
    assert lorag.search("warranty", bucket_url, by=embedder)[0].chunk.document_id == "warranty.md"
    rebuilt = runner.invoke(app, ["index", str(tmp_path / "docs"), "--store", bucket_url, "--rebuild"])
    assert rebuilt.exit_code == 0, rebuilt.output

"""Files appear whole, and line files survive a torn write."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from lorag.errors import DataError, InputError, StorageError
from lorag.files import LineLog, folder_whole, full_disk_errors, read_jsonl, read_text, require_writable, write_whole


def test_a_failed_write_keeps_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_whole(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot write .*a\.json.: the disk is full; free some space and run"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_can_be_read_by_others(tmp_path):
    write_whole(tmp_path / "deep" / "page.html", "x")
    assert (tmp_path / "deep" / "page.html").stat().st_mode & 0o044 == 0o044 & ~os.umask(os.umask(0o022))


def test_a_folder_appears_only_when_its_block_ends_well(tmp_path):
    target = tmp_path / "model"

    def fail():
        with folder_whole(target) as folder:
            (folder / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    for content in ("one", "two"):
        with folder_whole(target) as folder:
            (folder / "file").write_text(content)
        assert (target / "file").read_text() == content
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "model"
    target.mkdir()
    (target / "file").write_text("old")
    replace, calls = Path.replace, []

    def failing(self, other):
        calls.append(self)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(StorageError, match="the disk is full"), folder_whole(target) as folder:
        (folder / "file").write_text("new")
    assert (target / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_read_text_names_what_is_wrong(tmp_path):
    (tmp_path / "binary.txt").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "latin.txt").write_bytes("ok\ncaf\xe9".encode("latin-1"))
    with pytest.raises(DataError, match="is binary"):
        read_text(tmp_path / "binary.txt")
    with pytest.raises(DataError, match=r"latin\.txt:2: is not UTF-8"):
        read_text(tmp_path / "latin.txt")
    with pytest.raises(DataError, match="no such file"):
        read_text(tmp_path / "gone.txt")
    with pytest.raises(DataError, match="is a folder"):
        read_text(tmp_path)


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2\n')
    with pytest.raises(DataError, match=r"rows\.jsonl:3: broken JSON at column 8"):
        read_jsonl(path)
    path.write_text("[1]\n")
    with pytest.raises(DataError, match=r":1: expected a JSON object, found list"):
        read_jsonl(path)
    path.write_text('{"text": "line\u2028separator"}\n')
    assert read_jsonl(path) == [(1, {"text": "line\u2028separator"})]


def test_a_line_log_drops_a_torn_last_line_and_goes_on(tmp_path):
    path = tmp_path / "rows.jsonl"
    LineLog(path).append([{"n": 1}, {"n": 2}])
    with path.open("a") as file:
        file.write('{"n": 3, "text": "half a ro')
    log = LineLog(path)
    assert [row["n"] for row in log.rows] == [1, 2]
    log.append([{"n": 3}])
    assert [row["n"] for row in LineLog(path).rows] == [1, 2, 3]


def test_a_full_disk_leaves_whole_rows(tmp_path, monkeypatch):
    log = LineLog(tmp_path / "rows.jsonl")
    log.append([{"n": 1}])

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"rows\.jsonl.: the disk is full"):
            log.append([{"n": 2}])
    assert LineLog(tmp_path / "rows.jsonl").rows == [{"n": 1}] == log.rows


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path, largest_file):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="run': the disk is full"), largest_file(0):
        require_writable(tmp_path / "run")
    with pytest.raises(StorageError, match=r"File exists; make it writable or choose another folder"):
        write_whole(tmp_path / "file" / "a.json", "{}")
    with pytest.raises(InputError, match=r"cannot write to .*; choose another with --out"):
        require_writable(tmp_path / "file" / "run")


def test_a_full_disk_is_seen_whichever_library_meets_it(tmp_path, largest_file):
    import sqlite3

    import torch
    from safetensors.torch import save_file

    def by_sqlite():
        with closing(sqlite3.connect(tmp_path / "a.sqlite")) as connection:
            connection.execute("PRAGMA max_page_count = 2")
            connection.execute("CREATE TABLE t (x)")
            connection.execute("INSERT INTO t VALUES (?)", (bytes(100_000),))

    weights, path = {"a": torch.zeros(1_000_000)}, tmp_path / "a"
    for write in (
        lambda: path.write_bytes(bytes(100_000)),
        lambda: torch.save(weights, path),
        lambda: save_file(weights, path),
        by_sqlite,
    ):
        with pytest.raises(StorageError, match="a': the disk is full"), full_disk_errors(path), largest_file(50_000):
            write()
    with pytest.raises(RuntimeError, match="else"), full_disk_errors(path):
        raise RuntimeError("something else")


def test_a_full_disk_in_the_block_of_a_folder_is_named_by_the_folder(tmp_path):
    def fail():
        with folder_whole(tmp_path / "model"):
            raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"model': the disk is full"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_folder_can_be_read_by_who_may_read_the_folder(tmp_path):
    import torch
    from safetensors.torch import save_file

    with folder_whole(tmp_path / "model") as folder:
        save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
        (folder / "run.sh").touch(0o700)
    usual = 0o444 & ~os.umask(os.umask(0o022))
    modes = [(tmp_path / "model" / name).stat().st_mode for name in ("model.safetensors", "run.sh")]
    assert [mode & 0o777 for mode in modes] == [0o200 | usual, 0o300 | usual]


def test_a_file_in_utf_16_is_named_as_that(tmp_path):
    for form in ("utf-16-le", "utf-16-be"):
        (tmp_path / "qa.jsonl").write_bytes("\ufeff{}".encode(form))
        with pytest.raises(DataError, match=r"qa\.jsonl: is UTF-16, expected UTF-8; save it as UTF-8"):
            read_text(tmp_path / "qa.jsonl")


def test_lines_nested_too_deep_are_refused_with_their_number(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n' + "[" * 100_000)
    with pytest.raises(DataError, match=r"a\.jsonl:2: JSON nested too deep; expected a plain object"):
        read_jsonl(tmp_path / "a.jsonl")

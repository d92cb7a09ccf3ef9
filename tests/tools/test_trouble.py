"""The tools in the hands of somebody in trouble: as root, through links, a second time after a first that failed."""

import errno
import gc
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from storage.histories import History

from pyzkserver.storage.disk import RealDisk, RealFile

from .helpers import Tool, fingerprint, log_bytes

NOBODY = 65534


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


# --- dump -o ------------------------------------------------------------------------------------------------


def test_a_dump_into_a_pipe(tool: Tool, directory: Path, tmp_path: Path) -> None:
    """What is no file is written to, and not replaced: think of /dev/null and /dev/stdout, and of root."""
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    assert tool("dump", directory, "-o", pipe).status == 0
    reader.join(30)
    assert json.loads(read[0])["format"] == "pyzkserver dump"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "pipe"]


def test_a_dump_of_what_cannot_be_read(tool: Tool, directory: Path) -> None:
    """It is not told for damaged: a script may try again as another user.  (Root may read every file, but no
    directory that stands for one.)"""
    (directory / "version-2" / "log.7fffffff00000001").mkdir()
    outcome = tool("dump", directory)
    assert "cannot be read" in outcome.err
    assert outcome.status == 2


def test_a_dump_through_a_link(tool: Tool, directory: Path, tmp_path: Path) -> None:
    """It goes where the link leads, and the link stays; for its owner only, there too."""
    real, link = tmp_path / "elsewhere" / "real.json", tmp_path / "link.json"
    real.parent.mkdir()
    link.symlink_to(real)
    for _ in range(2):  # it need not be there, and may be
        assert tool("dump", directory, "-o", link).status == 0
        assert link.is_symlink()
        assert json.loads(real.read_text())["format"] == "pyzkserver dump"
        assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert os.listdir(real.parent) == ["real.json"]


def test_a_dump_to_standard_output(
    tool: Tool, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``-o -``, as restore takes ``-``; no file of that name appears."""
    monkeypatch.chdir(tmp_path)
    assert tool("dump", directory, "-o", "-").out == tool("dump", directory).out
    assert os.listdir(tmp_path) == ["data"]


def test_an_older_dump_is_replaced_by_a_whole_one(
    tool: Tool, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the disk, too: a power failure must not leave neither."""
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        done.append(f"sync {os.fstat(descriptor).st_size}")
        sync(descriptor)

    def replaced(old: Path, new: Path) -> None:
        done.append("replace")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replaced)
    file = tmp_path / "dump.json"
    assert tool("dump", directory, "-o", file).status == 0
    assert done == [f"sync {file.stat().st_size}", "replace"]


def test_a_dump_of_nothing(tool: Tool, tmp_path: Path) -> None:
    """A disk that is not mounted: a backup of that must not look like one."""
    (tmp_path / "data" / "version-2").mkdir(parents=True)
    outcome = tool("dump", tmp_path / "data", "-o", tmp_path / "dump.json")
    assert (outcome.status, outcome.out) == (2, "")
    assert "holds neither snapshots nor logs" in outcome.err
    assert os.listdir(tmp_path) == ["data"]


# --- restore ------------------------------------------------------------------------------------------------


@pytest.fixture
def dump_file(tool: Tool, directory: Path, tmp_path: Path) -> Path:
    file = tmp_path / "dump.json"
    assert tool("dump", directory, "-o", file).status == 0
    return file


@pytest.mark.parametrize("content", [None, "{}", "["])
def test_garbage_is_collected_again_behind_it(content: str | None, tool: Tool, dump_file: Path) -> None:
    """Whoever runs a tool in a process of his own goes on in it, however it ends."""
    if content is not None:
        dump_file.write_text(content)
    assert tool("restore", "--check", dump_file).status == {None: 0, "{}": 1, "[": 2}[content]
    assert gc.isenabled()


def test_what_an_earlier_restore_left(tool: Tool, tmp_path: Path, dump_file: Path) -> None:
    """One that was killed has left its snapshot: a server must not take that for the newest."""
    left = tmp_path / "new" / "version-2.restoring"
    left.mkdir(parents=True)
    (left / "snapshot.ffffffff0").write_bytes(b"of another dump")
    assert tool("restore", dump_file, tmp_path / "new").status == 0
    assert len(os.listdir(tmp_path / "new" / "version-2")) == 1
    assert tool("dump", tmp_path / "new").out == dump_file.read_text()


def test_a_directory_that_cannot_be_set_aside(
    tool: Tool, tmp_path: Path, directory: Path, dump_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then all stays where it was: a server that found its snapshots gone would begin anew."""
    logs = tmp_path / "logs" / "version-2"
    logs.mkdir(parents=True)
    for log in (directory / "version-2").glob("log.*"):
        log.rename(logs / log.name)
    before, rename = fingerprint(tmp_path), Path.rename

    def busy(path: Path, target: Any) -> Any:
        if path == logs:
            raise OSError(16, "Device or resource busy", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", busy)
    outcome = tool("restore", "--force", dump_file, directory, logs.parent)
    assert (outcome.status, outcome.err) == (
        2,
        f"pyzkserver restore: {logs}: Device or resource busy\n",
    )
    assert before.items() <= fingerprint(tmp_path).items()
    assert sorted(os.listdir(directory)) == ["pyzkserver.lock", "version-2"]
    monkeypatch.undo()
    assert tool("restore", "--force", dump_file, directory, logs.parent).status == 0
    assert tool("dump", directory, logs.parent).out == dump_file.read_text()


@as_root
def test_what_root_restores_is_the_servers(tool: Tool, tmp_path: Path, dump_file: Path) -> None:
    """All of it belongs to whom the data directory belongs to: the server could not write there otherwise."""
    for name in ("data", "logs"):
        (tmp_path / "new" / name).mkdir(parents=True)
        os.chown(tmp_path / "new" / name, NOBODY, NOBODY)
    assert tool("restore", dump_file, tmp_path / "new" / "data", tmp_path / "new" / "logs").status == 0
    made = list((tmp_path / "new").rglob("*"))
    assert {path.name for path in made} >= {"version-2", "pyzkserver.lock"}
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(NOBODY, NOBODY)}


@as_root
def test_what_cannot_be_given_away_is_told(
    tool: Tool, tmp_path: Path, dump_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is not root hears what is left to do."""

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / "new").mkdir()
    os.chown(tmp_path / "new", NOBODY, NOBODY)
    monkeypatch.setattr(os, "chown", refused)
    outcome = tool("restore", dump_file, tmp_path / "new")
    assert outcome.status == 0
    assert f"{tmp_path}/new/version-2 belongs to you, and {tmp_path}/new to user {NOBODY}" in outcome.err


# --- log --repair -------------------------------------------------------------------------------------------


@as_root
def test_what_root_repairs_is_the_servers(tool: Tool, directory: Path, history: History) -> None:
    """The repaired log is whose the damaged one was."""
    (log,) = (directory / "version-2").glob("log.*")
    log.write_bytes(log_bytes(history.txns)[:-1])
    os.chmod(log, 0o640)
    os.chown(log, NOBODY, NOBODY)
    assert tool("log", "--repair", "--yes", log).status == 0
    found = log.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (NOBODY, NOBODY, 0o640)


# --- a full disk --------------------------------------------------------------------------------------------


def test_no_room_for_what_is_restored(
    tool: Tool, directory: Path, dump_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there stays, and nothing half done takes the room that is left."""
    before = fingerprint(directory)
    monkeypatch.setattr(RealFile, "write", no_room)
    outcome = tool("restore", "--force", dump_file, directory)
    assert outcome.status == 2
    assert outcome.err == f"pyzkserver restore: {directory}/version-2.restoring: No space left on device\n"
    assert sorted(os.listdir(directory)) == ["pyzkserver.lock", "version-2"]
    assert before.items() <= fingerprint(directory).items()


def test_no_room_for_what_is_repaired(
    tool: Tool, directory: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likewise."""
    (log,) = (directory / "version-2").glob("log.*")
    log.write_bytes(log_bytes(history.txns)[:-1])
    before = fingerprint(directory)
    monkeypatch.setattr(RealFile, "write", no_room)
    outcome = tool("log", "--repair", "--yes", log)
    assert outcome.status == 2
    assert outcome.err.endswith(f"/unfinished.{log.name}: No space left on device\n")
    assert fingerprint(directory) == before


# --- links --------------------------------------------------------------------------------------------------


def test_one_directory_by_two_names(tool: Tool, directory: Path, tmp_path: Path, dump_file: Path) -> None:
    """A dataLogDir that is a link to the dataDir: that is one directory, and it is not in use."""
    (tmp_path / "link").symlink_to(directory)
    assert tool("dump", directory, tmp_path / "link").out == dump_file.read_text()
    assert tool("restore", "--force", dump_file, directory, tmp_path / "link").status == 0
    assert tool("dump", directory, tmp_path / "link").out == dump_file.read_text()


@pytest.mark.parametrize("link", ["data", "version-2"])
def test_a_running_servers_directory_by_another_name(
    link: str, tool: Tool, directory: Path, tmp_path: Path, dump_file: Path, history: History
) -> None:
    """It is the same directory: neither restored over nor repaired."""
    (log,) = (directory / "version-2").glob("log.*")
    log.write_bytes(log_bytes(history.txns)[:-1])
    other = tmp_path / "other"
    if link == "data":
        other.symlink_to(directory)
    else:
        other.mkdir()
        (other / "version-2").symlink_to(directory / "version-2")
    unlock = RealDisk().lock(directory / "pyzkserver.lock")
    assert unlock is not None
    before = fingerprint(directory)
    assert "running server" in tool("log", "--repair", "--yes", other / "version-2" / log.name).err
    assert "running server" in tool("restore", "--force", dump_file, other).err
    assert fingerprint(directory) == before
    unlock()
    assert tool("log", "--repair", "--yes", other / "version-2" / log.name).status == 0

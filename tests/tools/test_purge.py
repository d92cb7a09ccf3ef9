"""pyzkserver purge: what stays is enough to start from, beside a server that purges, too."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from pyzkserver.storage.disk import RealDisk
from pyzkserver.storage.snapshots import clear_unfinished
from pyzkserver.tools import purge

from .helpers import Tool, fingerprint

WHOLE = b"ZKSN\0\0\0\2" + bytes(20) + b"\0\0\0\1/"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six snapshots, and a log that begins at each but one."""
    version = tmp_path / "data" / "version-2"
    version.mkdir(parents=True)
    for zxid in (10, 20, 30, 40, 50, 60):
        (version / f"snapshot.{zxid:x}").write_bytes(WHOLE)
        if zxid != 40:
            (version / f"log.{zxid + 1:x}").write_bytes(b"ZKLG" * zxid)
    for other in ("currentEpoch", "log.1.bak", "snapshot.x", "unfinished.snapshot.5"):
        (version / other).write_bytes(b"1")
    return version.parent


@pytest.fixture(autouse=True)
def unrested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyzkserver.tools.purge.time.sleep", lambda seconds: None)


def left(data: Path) -> tuple[list[int], list[int]]:
    names = [path.name for path in (data / "version-2").iterdir()]
    snapshots = [int(name[9:], 16) for name in names if name.startswith("snapshot.") and name != "snapshot.x"]
    logs = [int(name[4:], 16) for name in names if name.startswith("log.") and name != "log.1.bak"]
    return sorted(snapshots), sorted(logs)


def test_what_stays(tool: Tool, data: Path) -> None:
    """The newest three, and the log that was being written when the oldest of them was taken."""
    outcome = tool("purge", "-n", 3, data)
    assert outcome.status == 0
    assert left(data) == ([40, 50, 60], [31, 51, 61])
    version = data / "version-2"
    lines = outcome.out.splitlines()
    assert f"{version}/snapshot.a removed (33 bytes)" in lines
    assert lines[-1] == "5 files removed, 219 bytes"
    assert {path.name for path in version.iterdir()} >= {"currentEpoch", "log.1.bak", "snapshot.x"}
    assert tool("purge", data).out == "0 files removed, 0 bytes\n"


def test_dry_run(tool: Tool, data: Path) -> None:
    """It says just what would be done, and does nothing."""
    before = fingerprint(data)
    tried = tool("purge", "--dry-run", "--json", "-n", 4, data)
    assert fingerprint(data) == before
    done = tool("purge", "--json", "-n", 4, data)
    assert tried.out.replace('"removed": false', '"removed": true') == done.out
    assert {Path(json.loads(line)["file"]).name for line in done.out.splitlines()} == {
        "snapshot.a",
        "snapshot.14",
        "log.b",
    }
    assert "would be removed" in tool("purge", "--dry-run", "-n", 3, data).out


def test_half_a_snapshot_does_not_count(tool: Tool, data: Path) -> None:
    """As PurgeTxnLog counts: otherwise there might be none left to start from."""
    for zxid in (50, 60):
        (data / "version-2" / f"snapshot.{zxid:x}").write_bytes(WHOLE[:-1])
    assert tool("purge", "-n", 3, data).status == 0
    assert left(data)[0] == [20, 30, 40, 50, 60]


def test_logs_elsewhere(tool: Tool, data: Path, tmp_path: Path) -> None:
    """In the order DATADIR LOGDIR, or as a zoo.cfg says; and its autopurge.snapRetainCount counts."""
    logs = tmp_path / "logs" / "version-2"
    logs.mkdir(parents=True)
    for path in (data / "version-2").glob("log.*"):
        path.rename(logs / path.name)
    zoo_cfg = tmp_path / "zoo.cfg"
    zoo_cfg.write_text(
        f"dataDir={data}\ndataLogDir={logs.parent}\nautopurge.snapRetainCount=5\nserver.1=a:1:2\n"
    )
    assert len(tool("purge", "--dry-run", "--json", zoo_cfg).out.splitlines()) == 1
    assert len(tool("purge", "--dry-run", "--json", "-n", 4, zoo_cfg).out.splitlines()) == 3
    assert len(tool("purge", "--json", data, logs.parent).out.splitlines()) == 5
    zoo_cfg.write_text(f"dataDir={data}\nautopurge.snapRetainCount=1\n")
    assert len(tool("purge", "--dry-run", "--json", zoo_cfg).out.splitlines()) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-n", "2", "data"], "-n 2: 3 snapshots at least must be kept"),
        (["-n", "three", "data"], "invalid int value"),
        (["nowhere"], "nowhere does not exist"),
        (["data/version-2"], "name the data directory that version-2 is in"),
        (["."], "is no data directory"),
        ([], "usage: pyzkserver purge"),
    ],
)
def test_what_it_refuses(
    words: list[str], told: str, tool: Tool, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 2, and nothing is deleted."""
    monkeypatch.chdir(data.parent)
    before = fingerprint(data)
    outcome = tool("purge", *words)
    assert outcome.status == 2
    assert told in outcome.err
    assert fingerprint(data) == before


def test_beside_a_server_that_purges(tool: Tool, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody else deletes at the same moment is no error, and is not counted; at any moment."""
    version = data / "version-2"
    rename, size, remove = purge._Deleting.rename, purge._Deleting.size, purge._Deleting.remove
    other = [version / "snapshot.a", version / "snapshot.3c", version / "purged.snapshot.14"]

    def late(self: purge._Deleting, old: Path, new: Path) -> None:
        if old == other[0]:
            old.unlink()
        rename(self, old, new)

    def vanishing(self: purge._Deleting, path: Path) -> int:
        if path == other[1]:
            path.unlink()
        return size(self, path)

    def too_late(self: purge._Deleting, path: Path) -> None:
        if path == other[2]:
            path.unlink()
        remove(self, path)

    monkeypatch.setattr(purge._Deleting, "rename", late)
    monkeypatch.setattr(purge._Deleting, "size", vanishing)
    monkeypatch.setattr(purge._Deleting, "remove", too_late)
    outcome = tool("purge", "-n", 3, data)
    assert (outcome.status, outcome.err) == (0, "")
    assert left(data) == ([30, 40, 50], [21, 31, 51, 61])
    assert "snapshot.a" not in outcome.out
    assert not list(version.glob("purged.*"))


def test_large_files_go_piece_by_piece(tool: Tool, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than 4 MiB at once, with a rest after each: a server that syncs its log meanwhile must not wait."""
    version = data / "version-2"
    with (version / "snapshot.a").open("r+b") as large:
        large.seek(10 << 20)
        large.write(WHOLE)
    sizes: list[int] = []

    def rest(seconds: float) -> None:
        assert seconds > 0
        sizes.append(sum(path.stat().st_size for path in version.glob("*snapshot.a")))

    monkeypatch.setattr("pyzkserver.tools.purge.time.sleep", rest)
    outcome = tool("purge", "-n", 3, data)
    assert f"{version}/snapshot.a removed (10 MB)" in outcome.out
    assert sizes[0] > 10 << 20
    assert sizes[-1] == 0
    assert max(before - after for before, after in pairwise(sizes)) <= 4 << 20
    assert left(data) == ([40, 50, 60], [31, 51, 61])


def test_what_was_left_half_done_goes_with_the_next(
    tool: Tool, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is killed in the middle, nothing is lost and nothing is in the way."""

    def killed(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pyzkserver.tools.purge.time.sleep", killed)
        assert tool("purge", "-n", 3, data).status == 130
    version = data / "version-2"
    assert len(list(version.glob("purged.*"))) == 1
    assert tool("purge", "-n", 3, data).status == 0
    assert not list(version.glob("purged.*"))
    assert left(data) == ([40, 50, 60], [31, 51, 61])


def test_a_server_may_start_meanwhile(data: Path) -> None:
    """It deletes what is left half done, and what is gone by then is no reason not to start."""
    version = data / "version-2"
    (version / "purged.log.1").touch()

    class Raced(RealDisk):
        def remove(self, path: Path) -> None:
            path.unlink()
            super().remove(path)

    clear_unfinished(Raced(), version)
    assert not list(version.glob("purged.*"))

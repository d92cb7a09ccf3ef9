"""A data directory as a whole: made, locked, checked, cleaned up, and given back."""

import copy
import errno
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
from serving.talk import Event, Reply, children, create, data_of, delete, exists, get, names_of, set_data
from sim.caller import Caller
from sim.disk import SimDisk
from sim.host import SimHost, seeded_run
from sim.server import DATA_DIR, SimServer, settings
from sim.world import innermost

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.server import new_tree
from pyzkserver.storage import store
from pyzkserver.storage.filelog import StorageFailed
from pyzkserver.storage.recovery import DataDirectoryError
from pyzkserver.storage.store import Store
from pyzkserver.wire.requests import OpCode

from .directories import OTHER_DIR, VERSION_2, error_txn, log_bytes, new_disk, nothing, serve


async def write_one(server: SimServer) -> None:
    caller = Caller(server)
    await caller.greet()
    await caller.ask(create("/a", b"1"))


def refusal(disk: SimDisk, **changes: object) -> str:
    with pytest.raises(DataDirectoryError) as caught:
        serve(disk, nothing, **changes)
    return str(caught.value)


class TestLayout:
    """Apache's files, where Apache's server has them."""

    def test_one_directory(self) -> None:
        """The first start leaves a snapshot: Apache's server trusts no logs without one."""
        disk = new_disk()
        serve(disk, nothing)
        assert disk.listing(DATA_DIR) == ["pyzkserver.lock", "version-2"]
        assert disk.listing(VERSION_2) == ["snapshot.0"]
        serve(disk.kill(), write_one)
        serve(after := disk.kill(), write_one)
        assert after.listing(VERSION_2) == ["log.1", "snapshot.0"]

    def test_a_directory_of_its_own_for_the_logs(self) -> None:
        """Both are locked, each holds its own, and both are needed to go on."""
        disk = new_disk()
        log_dir = OTHER_DIR / "zookeeper"
        serve(disk, write_one, data_log_dir=log_dir)
        assert disk.listing(VERSION_2) == ["snapshot.0"]
        assert disk.listing(log_dir / "version-2") == ["log.1"]
        assert disk.listing(log_dir) == ["pyzkserver.lock", "version-2"]
        again = serve(disk.kill(), nothing, data_log_dir=log_dir)
        assert again.recovered.tree.nodes["/a"].data == b"1"

    def test_snapshots_among_the_logs(self) -> None:
        """Somebody gave the two directories the wrong way round: refused (LogDirContentCheckException)."""
        disk = new_disk()
        serve(disk, write_one)
        message = refusal(disk.kill(), data_dir=OTHER_DIR, data_log_dir=DATA_DIR)
        assert message.startswith(f"{VERSION_2} holds snapshot.0, which belongs into dataDir, in {OTHER_DIR}")

    def test_logs_among_the_snapshots(self) -> None:
        """A dataLogDir was added, and the logs are where they were: refused (SnapDirContentCheckException)."""
        disk = new_disk()
        serve(disk, write_one)
        message = refusal(disk.kill(), data_log_dir=OTHER_DIR)
        assert message.startswith(f"{VERSION_2} holds log.1, which belongs into dataLogDir, in {OTHER_DIR}")

    def test_directories_are_only_made_if_that_is_wanted(self) -> None:
        """zookeeper.datadir.autocreate=false: a file system that is not mounted is no empty data directory."""
        message = refusal(new_disk(), data_dir_autocreate=False)
        assert f"{VERSION_2} does not exist" in message
        assert "zookeeper.datadir.autocreate" in message
        disk = new_disk()
        serve(disk, nothing)
        serve(disk.kill(), write_one, data_dir_autocreate=False)

    def test_the_directories_are_durable_before_anything_is_in_them(self) -> None:
        """What is acknowledged is there after a power failure, on a file system that was empty."""
        for seed in range(20):
            disk = new_disk()
            deep = DATA_DIR / "a" / "b"
            serve(disk, write_one, data_dir=deep, end="die")
            again = serve(disk.crash(seed), nothing, data_dir=deep)
            assert again.recovered.tree.nodes["/a"].data == b"1"


class TestRefusals:
    """Each says which path, what is wrong and what to do."""

    @pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS, errno.EPERM])
    @pytest.mark.parametrize("call", ["lock pyzkserver.lock", "create unfinished.write-test"])
    def test_a_directory_that_cannot_be_written(self, call: str, error: int) -> None:
        """Of another user, or on a file system that is read-only: told at the start, not at the first write."""
        disk = new_disk()
        serve(disk, nothing)
        disk = disk.kill()
        journal = serve(disk.kill(), nothing).host.disk.journal
        disk.fail_at(journal.index(call) + 1, error)
        message = refusal(disk)
        assert call.split()[1] in message
        assert os.strerror(error) in message
        assert "belong to the user who runs the server" in message

    def test_a_log_directory_that_cannot_be_written(self) -> None:
        """Both directories are tried."""
        disk = new_disk()
        journal = serve(disk.kill(), nothing, data_log_dir=OTHER_DIR).host.disk.journal
        tried = [number for number, call in enumerate(journal, 1) if call == "create unfinished.write-test"]
        assert len(tried) == 2
        disk.fail_at(tried[1], errno.EACCES)
        assert refusal(disk, data_log_dir=OTHER_DIR).startswith(f"{OTHER_DIR}/version-2/")

    @pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
    def test_a_disk_that_is_full_or_broken(self, error: int) -> None:
        """Then permissions are not what to look at."""
        disk = new_disk()
        disk.fail_at(4, error)
        assert refusal(disk).endswith("Mend the disk, or make room on it, then start the server again")

    def test_a_file_where_the_directory_should_be(self, tmp_path: Path) -> None:
        """On the real disk."""
        (tmp_path / "file").write_text("")
        store = Store(Config(data_dir=tmp_path / "file"), Host())
        with pytest.raises(DataDirectoryError, match="/file: Not a directory"):
            store.open(lambda: new_tree(Config()))


class TestLock:
    """One directory, one server."""

    def test_two_servers_at_once(self) -> None:
        """The second one is told, and the first one does not notice."""

        async def main() -> None:
            disk = new_disk()
            first = SimServer(settings(), SimHost(disk))
            before = disk.listing(VERSION_2)
            with pytest.raises(DataDirectoryError, match=f"{DATA_DIR} is in use by another server"):
                SimServer(settings(), SimHost(disk))
            assert disk.listing(VERSION_2) == before
            first.stop()
            SimServer(settings(), SimHost(disk)).stop()

        seeded_run(0, main)

    @pytest.mark.parametrize(
        "second",
        [
            {"data_dir": DATA_DIR, "data_log_dir": OTHER_DIR / "b"},
            {"data_dir": OTHER_DIR / "c", "data_log_dir": OTHER_DIR / "a"},
            {"data_dir": OTHER_DIR / "a"},
        ],
    )
    def test_either_directory_is_enough(self, second: dict[str, Path]) -> None:
        """Two servers that share their logs alone do as much harm.  What was locked is unlocked again."""

        async def main() -> None:
            disk = new_disk()
            first = SimServer(settings(data_log_dir=OTHER_DIR / "a"), SimHost(disk))
            with pytest.raises(DataDirectoryError, match="in use"):
                SimServer(settings(**second), SimHost(disk))
            first.stop()
            SimServer(settings(**second), SimHost(disk)).stop()

        seeded_run(0, main)

    @pytest.mark.parametrize("what", ["recovery", "first snapshot"])
    def test_a_start_that_fails_leaves_it_unlocked(self, what: str) -> None:
        """The next attempt is told of the same trouble, not of the lock."""
        disk = new_disk()
        if what == "recovery":
            disk.make_directory(VERSION_2)
            disk.put(VERSION_2 / "snapshot.1", b"rubbish")
            wanted = "can be read"
        else:
            journal = serve(disk.kill(), nothing).host.disk.journal
            disk.fail_at(journal.index("rename snapshot.0") + 1, errno.EIO)
            wanted = "Input/output error"
        assert wanted in refusal(disk)
        if what == "recovery":
            assert wanted in refusal(disk)
            disk.remove(VERSION_2 / "snapshot.1")
        serve(disk, nothing)

    def test_a_killed_process_holds_no_lock(self, tmp_path: Path) -> None:
        """On the real disk, with a real process: however it ends, the operating system unlocks."""
        script = (
            "import sys, pathlib; from pyzkserver.storage.disk import RealDisk;"
            "unlock = RealDisk().lock(pathlib.Path(sys.argv[1]));"
            "print('locked', flush=True); sys.stdin.read()"
        )
        with holder(script, str(tmp_path / "pyzkserver.lock")) as process:
            store = Store(Config(data_dir=tmp_path), Host())
            with pytest.raises(DataDirectoryError, match="in use by another server"):
                store.open(lambda: new_tree(Config()))
            process.kill()
            process.wait()
            store.open(lambda: new_tree(Config()))
            store.close()

    def test_one_directory_by_two_names(self, tmp_path: Path) -> None:
        """dataLogDir may be a link to dataDir: the server does not lock itself out, now or later."""
        (tmp_path / "data").mkdir()
        (tmp_path / "link").symlink_to("data")
        for log_dir in (tmp_path / "link", tmp_path / "data" / ".." / "data"):
            opened = Store(Config(data_dir=tmp_path / "data", data_log_dir=log_dir), Host())
            opened.open(lambda: new_tree(Config()))
            assert opened.logs == opened.snapshots
            opened.close()

    @pytest.mark.parametrize("link", ["data", "version-2"])
    def test_the_directory_of_another_server_by_another_name(self, link: str, tmp_path: Path) -> None:
        """It is locked all the same."""
        first = Store(Config(data_dir=tmp_path / "data"), Host())
        first.open(lambda: new_tree(Config()))
        if link == "data":
            (tmp_path / "other").symlink_to("data")
        else:
            (tmp_path / "other").mkdir()
            (tmp_path / "other" / "version-2").symlink_to(tmp_path / "data" / "version-2")
        second = Store(Config(data_dir=tmp_path / "other"), Host())
        with pytest.raises(DataDirectoryError, match="in use by another server"):
            second.open(lambda: new_tree(Config()))
        first.close()
        second.open(lambda: new_tree(Config()))
        second.close()

    def test_a_lock_that_another_user_left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Root has run a tool there: the file cannot be written, and reading it is enough to lock."""
        really_open = os.open

        def refuse(path: Any, flags: int, *mode: int) -> int:
            if flags & os.O_RDWR and str(path).endswith(".lock"):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return really_open(path, flags, *mode)

        monkeypatch.setattr(os, "open", refuse)
        first, second = (Store(Config(data_dir=tmp_path), Host()) for _ in range(2))
        with pytest.raises(DataDirectoryError, match="lock: Permission denied"):
            first.open(lambda: new_tree(Config()))
        (tmp_path / "pyzkserver.lock").touch()
        first.open(lambda: new_tree(Config()))
        with pytest.raises(DataDirectoryError, match="in use by another server"):
            second.open(lambda: new_tree(Config()))
        first.close()


class holder:  # noqa: N801
    """A process that has locked."""

    def __init__(self, script: str, path: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> "subprocess.Popen[bytes]":
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"locked\n"
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


class TestEnds:
    """What is left behind, and by whom it is cleaned up."""

    def test_every_file_that_was_opened_is_closed(self) -> None:
        """The first snapshot, a torn log that is cut and written again, one that is rolled, a purge."""
        disk = new_disk()
        disk.make_directory(VERSION_2)
        torn = log_bytes([error_txn(1), error_txn(2)])[:-1]
        disk.put(VERSION_2 / "log.1", torn)

        async def main(server: SimServer) -> None:
            await write_one(server)

        for _ in range(2):
            server = serve(disk, main, snap_count=2, auto_purge_purge_interval=1, snapshot_trust_empty=True)
        calls = [call.split() for call in server.host.disk.journal]
        opened = Counter(name for what, name, *_ in calls if what in ("create", "open") and name != "to")
        closed = Counter(name for what, name, *_ in calls if what == "close")
        assert {"log.1", "unfinished.snapshot.1", "unfinished.write-test"} <= set(opened)
        assert closed == opened

    def test_what_was_never_finished_is_deleted(self) -> None:
        """A server that is killed while it takes a snapshot leaves half of it; disks fill up that way."""
        disk = new_disk()
        serve(disk, write_one)
        disk = disk.kill()
        disk.put(VERSION_2 / "unfinished.snapshot.7", b"half")
        disk.put(VERSION_2 / "unfinished.write-test", b"")
        disk.put(VERSION_2 / "mine.txt", b"whatever this is")
        serve(disk, nothing)
        assert disk.listing(VERSION_2) == ["log.1", "mine.txt", "snapshot.0"]

    def test_the_directory_is_given_back_whatever_happens(self, caplog: pytest.LogCaptureFixture) -> None:
        """A close that fails harms nothing: all that counts was synced before."""

        async def main() -> None:
            disk = new_disk()
            server = SimServer(settings(), SimHost(disk))
            caller = Caller(server)
            await caller.greet()
            await caller.write(create("/a", b"1"))
            disk.fail_at(1, errno.EIO)
            server.stop()
            assert "closing the transaction log failed" in caplog.text
            again = SimServer(settings(), SimHost(disk))
            assert again.recovered.tree.nodes["/a"].data == b"1"
            again.stop()

        seeded_run(0, main)

    def test_an_orderly_end_finishes_the_flush(self) -> None:
        """What the disk is at work on when the server is stopped gets there, though nobody is told."""

        async def main(server: SimServer) -> None:
            caller = Caller(server)
            await caller.greet()
            server.host.flusher.hold()
            caller.send(create("/a", b"1"))
            await trio.sleep(1)
            assert caller.answers == []

        disk = new_disk()
        serve(disk, main)
        assert serve(disk.crash(0), nothing).recovered.tree.nodes["/a"].data == b"1"


class TestPurge:
    """autopurge: at the start, and every purgeInterval hours."""

    @pytest.fixture(autouse=True)
    def short_hours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Virtual ones cost real seconds, too: a server looks ten times a second whether a snapshot is due."""
        assert store._HOUR == 3600
        monkeypatch.setattr(store, "_HOUR", 60.0)

    def test_old_snapshots_and_logs_go(self) -> None:
        """At the start, and again after the interval; what is needed to start stays."""

        async def an_hour(server: SimServer) -> None:
            caller = Caller(server)
            await caller.greet()
            for number in range(40):
                await caller.write(create(f"/{number}", b"1"))
                await trio.sleep(0.2)
            assert len([name for name in server.host.disk.listing(VERSION_2) if name[0] == "s"]) > 3
            await trio.sleep(60)

        disk = new_disk()
        serve(disk, an_hour, auto_purge_purge_interval=1, snap_count=4, max_session_timeout=10**7)
        snapshots = [name for name in disk.listing(VERSION_2) if name.startswith("snapshot.")]
        assert len(snapshots) == 3
        again = serve(disk.kill(), nothing)
        assert {f"/{number}" for number in range(40)} <= again.recovered.tree.nodes.keys()

    def test_without_an_interval_nothing_goes(self) -> None:
        """As Apache's default has it."""

        async def an_hour(server: SimServer) -> None:
            for _ in range(30):
                await write_one(server)
                await trio.sleep(0.2)
            await trio.sleep(60)

        disk = new_disk()
        serve(disk, an_hour, snap_count=4)
        assert "snapshot.0" in disk.listing(VERSION_2)

    def test_what_cannot_be_deleted_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        """The server goes on, and tries again an hour later."""

        async def wait(server: SimServer) -> None:
            await trio.sleep(1)
            assert "old snapshots and logs could not be deleted" in caplog.text
            await write_one(server)

        disk = new_disk()
        serve(disk, nothing)
        disk = disk.kill()
        calls = len(serve(copy.deepcopy(disk), nothing).host.disk.journal)
        disk.fail_at(calls + 1, errno.EIO)
        serve(disk, wait, auto_purge_purge_interval=1)


class TestFailure:
    """A flush that fails, and one that takes long."""

    @pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
    @pytest.mark.parametrize("call", ["write log.1", "sync log.1"])
    def test_a_flush_that_fails_stops_the_server(self, call: str, error: int) -> None:
        """With the file and the reason; nothing is answered, and nothing of it shows after the next start."""
        greeted: list[bool] = []

        async def ask(server: SimServer) -> None:
            greeted.append(await Caller(server).greet())

        disk = new_disk()
        serve(disk, nothing)
        disk = disk.kill()
        journal = serve(copy.deepcopy(disk), write_one).host.disk.journal
        disk.fail_at(journal.index(call) + 1, error)
        with pytest.raises(BaseExceptionGroup) as caught:
            serve(disk, ask)
        failure = innermost(caught.value)
        assert isinstance(failure, StorageFailed)
        assert str(failure).startswith(
            f"cannot write the transaction log {VERSION_2}/log.1: {os.strerror(error)}"
        )
        assert greeted == []
        assert serve(disk.kill(), nothing).recovered.tree.last_zxid == 0

    def test_a_slow_flush_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        """fsync.warningthresholdms: with size, file and time; up to the threshold nothing is said."""

        async def main(server: SimServer) -> None:
            caller = Caller(server)
            await caller.greet()
            for hang, path in ((0.9, "/a"), (1.1, "/b")):
                server.host.flusher.hold()
                caller.send(create(path, b""))
                await trio.sleep(hang)
                server.host.flusher.release()
                await trio.sleep(0.1)

        caplog.set_level(logging.WARNING)
        serve(new_disk(), main, fsync_warning_threshold_ms=1000)
        (message,) = caplog.messages
        assert f"bytes to {VERSION_2}/log.1 took 11" in message
        assert "fsync.warningthresholdms is 1000" in message

    def test_reads_go_on_while_a_flush_hangs(self) -> None:
        """Those of others; a session's own stand behind its write, and nobody sees what is not safe."""

        async def main(server: SimServer) -> None:
            writer, reader = Caller(server), Caller(server)
            await writer.greet()
            await reader.greet()
            await writer.write(create("/a", b"old"))
            server.host.flusher.hold()
            assert not server.store.flushing()
            writer.send(set_data("/a", b"new"), get("/a"))
            await trio.sleep(1)
            assert server.store.flushing()
            (seen,) = await reader.ask(get("/a"))
            assert data_of(seen) == b"old"
            assert writer.answers == []
            server.host.flusher.release()
            await trio.sleep(1)
            assert data_of(writer.answers[-1]) == b"new"
            assert not server.store.flushing()

        serve(new_disk(), main)

    def test_nobody_hears_of_what_is_not_safe(self) -> None:
        """No watcher, no other reader, no list of children; nor is a new session had, or an old one closed."""

        async def main(server: SimServer) -> None:
            writer, watcher, newcomer = Caller(server), Caller(server), Caller(server)
            await writer.greet()
            await watcher.greet()
            await writer.write(create("/a"), create("/gone"), create("/mine", flags=1))
            look = (get("/a"), exists("/b"), exists("/gone"), exists("/mine"), children("/"))
            await watcher.ask(get("/a", True), exists("/b", True), exists("/gone", True), children("/", True))
            before = [reply.body for reply in await watcher.ask(*look) if isinstance(reply, Reply)]
            server.host.flusher.hold()
            writer.send(set_data("/a", b"new"), create("/b"), delete("/gone"), (OpCode.CLOSE_SESSION, b""))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(newcomer.greet)
                await trio.sleep(1)
                assert server.store.flushing()
                seen = await watcher.ask(*look)
                assert [reply.body for reply in seen if isinstance(reply, Reply)] == before
                assert len(seen) == len(look)
                assert (writer.answers, newcomer.session_id) == ([], 0)
                server.host.flusher.release()
            assert newcomer.session_id
            assert len(writer.answers) == 4
            heard = [answer.path for answer in watcher.answers if isinstance(answer, Event)]
            assert sorted(heard) == ["/", "/a", "/b", "/gone"]

        serve(new_disk(), main)


class TestSessions:
    """They outlive the server that opened them."""

    @pytest.mark.parametrize("end", ["stop", "die"])
    @pytest.mark.parametrize("snap_count", [2, 100_000])
    def test_resumed_within_the_timeout_and_not_after(self, end: str, snap_count: int) -> None:
        """From the log, and from a snapshot; counted from the start, for nobody could be heard before it."""
        known: dict[str, Caller] = {}

        async def before(server: SimServer) -> None:
            for name in ("back", "late", "closed"):
                known[name] = caller = Caller(server)
                await caller.greet(timeout=4000)
                await caller.write(create(f"/{name}", flags=1))
            await known["closed"].write((OpCode.CLOSE_SESSION, b""))
            await trio.sleep(2)  # a snapshot is taken, if one is due

        async def come(server: SimServer, name: str) -> bool:
            old = known[name]
            return await Caller(server).greet(4000, session_id=old.session_id, password=old.password)

        async def after(server: SimServer) -> None:
            reader = Caller(server)
            await reader.greet()
            assert {"back", "late"} <= set(names_of((await reader.ask(children("/")))[0]))
            await trio.sleep(3)
            assert await come(server, "back")
            assert not await come(server, "closed")
            await trio.sleep(2)
            reader = Caller(server)
            await reader.greet()
            assert not await come(server, "late")
            names = set(names_of((await reader.ask(children("/")))[0]))
            assert "back" in names
            assert not {"late", "closed"} & names

        disk = serve(new_disk(), before, end=end, snap_count=snap_count).host.disk
        assert len(disk.listing(VERSION_2)) > (2 if snap_count == 2 else 1)
        serve(disk.kill(), after, skew=60)  # the simulated clock begins anew, and a real one does not


class TestDurableFromTheStart:
    """What a server shows after its start cannot be lost any more."""

    def test_after_a_kill_the_log_is_synced(self) -> None:
        """The killed server had written, and not synced; the next one shows it, and then the power fails."""
        for seed in range(30):
            disk = self._killed()
            serve(disk, nothing, end="die")
            shown = serve(disk.kill(), nothing).recovered.tree.last_zxid
            assert shown == 3
            assert serve(disk.crash(seed), nothing).recovered.tree.last_zxid == shown

    def test_after_a_failed_flush_the_log_is_written_again(self) -> None:
        """The kernel takes those pages for clean: a sync alone would bring nothing to the disk."""
        for seed in range(30):
            disk = self._killed(fail=True)
            serve(disk, nothing, end="die")
            assert serve(disk.crash(seed), nothing).recovered.tree.last_zxid == 3

    def test_forced_syncs_can_be_switched_off(self) -> None:
        """forceSync=no: nothing is ever synced but snapshots.  A kill loses nothing all the same."""
        disk = new_disk()
        serve(disk, nothing)
        disk = disk.kill()
        serve(disk, write_one, force_sync=False, end="die")
        again = serve(after := disk.kill(), write_nothing, force_sync=False)
        assert again.recovered.tree.nodes["/a"].data == b"1"
        assert (disk.syncs, after.syncs) == (0, 0)

    @staticmethod
    def _killed(*, fail: bool = False) -> SimDisk:
        """A log that a server wrote and did not sync; or could not."""
        disk = new_disk()
        serve(disk, nothing)
        disk = disk.kill()
        file = disk.create(VERSION_2 / "log.1")
        file.write(log_bytes([error_txn(zxid) for zxid in (1, 2, 3)]), 0)
        if fail:
            disk.fail_at(1, errno.EIO)
            with pytest.raises(OSError, match="error"):
                file.sync()
            disk.sync_directory(VERSION_2)
        return disk.kill()


async def write_nothing(server: SimServer) -> None:
    caller = Caller(server)
    await caller.greet()
    await caller.ask(get("/a"))

"""The disks and workers in memory and the simulated ones behave as the real ones do; these fail and forget, too."""

import errno
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from pyzkserver.storage.disk import Disk, RealDisk, ThreadWorker, Worker, in_worker
from pyzkserver.storage.memory_disk import MemoryDisk, PromptWorker

from .disk import PowerFailure, SimDisk
from .host import SimClock
from .worker import SimWorker

Place = tuple[Disk, Path]


@pytest.fixture(params=["real", "in memory", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A disk, and an empty directory on it."""
    if request.param == "real":
        return RealDisk(), tmp_path
    if request.param == "in memory":
        return MemoryDisk(existing=(tmp_path,)), tmp_path
    return SimDisk(existing=(tmp_path,)), tmp_path


def read(disk: Disk, path: Path, start: int = 0) -> bytes:
    return b"".join(disk.read(path, start))


def put(disk: Disk, path: Path, data: bytes) -> None:
    file = disk.create(path)
    file.write(data, 0)
    file.close()


class TestDisk:
    """What the real disk does, the others do."""

    def test_directories(self, place: Place) -> None:
        """Made with their parents, and left as they are when they are there."""
        disk, top = place
        deep = top / "a" / "b" / "c"
        disk.make_directory(deep)
        put(disk, deep / "file", b"x")
        disk.make_directory(deep)
        assert disk.names(deep) == ["file"]
        assert disk.names(top / "a") == ["b"]
        disk.sync_directory(deep)

    def test_a_directory_that_somebody_began_to_make(self, tmp_path: Path) -> None:
        """Who makes one syncs its name; who was killed before that has left it to the next one, who does."""
        synced: list[Path] = []

        class Watched(RealDisk):
            def sync_directory(self, path: Path) -> None:
                synced.append(path)
                if len(synced) == 2:
                    raise PowerFailure
                super().sync_directory(path)

        disk, made = Watched(), tmp_path / "a"
        with pytest.raises(PowerFailure):
            disk.make_directory(made / "b")
        assert made.is_dir()
        disk.make_directory(made / "b")
        assert synced == [tmp_path.parent, tmp_path, tmp_path, made]
        disk.make_directory(made / "b")
        assert synced[4:] == [made]

    @pytest.mark.parametrize("error", [errno.EACCES, errno.EINVAL, errno.EIO])
    def test_a_parent_that_cannot_be_synced(self, error: int, tmp_path: Path) -> None:
        """Of a directory that is there it may be another's; but a disk that is broken is told of."""

        class Refusing(RealDisk):
            def sync_directory(self, path: Path) -> None:
                raise OSError(error, "no")

        if error == errno.EIO:
            with pytest.raises(OSError, match="no"):
                Refusing().make_directory(tmp_path)
        else:
            Refusing().make_directory(tmp_path)
        with pytest.raises(OSError, match="no"):
            Refusing().make_directory(tmp_path / "new")

    def test_a_file_is_written_anywhere(self, place: Place) -> None:
        """Bytes go where they are told to; what is between is zeros; what was there is overwritten."""
        disk, top = place
        file = disk.create(top / "file")
        file.write(b"hello", 3)
        file.write(b"", 0)
        file.write(b"HE", 3)
        file.sync()
        file.close()
        assert read(disk, top / "file") == b"\0\0\0HEllo"
        assert disk.size(top / "file") == 8

    def test_reading_from_the_middle(self, place: Place) -> None:
        """A reader may begin anywhere, the end and what lies behind it included."""
        disk, top = place
        put(disk, top / "file", b"0123456789")
        assert read(disk, top / "file", 7) == b"789"
        assert read(disk, top / "file", 10) == b""
        assert read(disk, top / "file", 99) == b""

    def test_large_files_come_in_chunks(self, place: Place) -> None:
        """What is larger than memory should be can still be read."""
        disk, top = place
        put(disk, top / "file", bytes(range(256)) * 10_000)
        chunks = list(disk.read(top / "file"))
        assert len(chunks) > 1
        assert b"".join(chunks) == bytes(range(256)) * 10_000

    def test_truncating_cuts_and_grows(self, place: Place) -> None:
        """Preallocation grows a file by zeros, recovery cuts one."""
        disk, top = place
        put(disk, top / "file", b"0123456789")
        file = disk.open(top / "file")
        file.truncate(4)
        file.truncate(6)
        file.close()
        assert read(disk, top / "file") == b"0123\0\0"

    def test_create_empties_and_open_does_not(self, place: Place) -> None:
        """The difference between a new log and one that is cut."""
        disk, top = place
        put(disk, top / "file", b"0123456789")
        disk.open(top / "file").close()
        assert disk.size(top / "file") == 10
        disk.create(top / "file").close()
        assert disk.size(top / "file") == 0

    def test_renaming_replaces(self, place: Place) -> None:
        """A snapshot gets its name when it is whole, whether one of that name is there or not."""
        disk, top = place
        put(disk, top / "old", b"new contents")
        put(disk, top / "taken", b"old contents")
        disk.rename(top / "old", top / "taken")
        assert disk.names(top) == ["taken"]
        assert read(disk, top / "taken") == b"new contents"

    def test_removing(self, place: Place) -> None:
        """What is removed is not there any more, though who has it open may write on."""
        disk, top = place
        file = disk.create(top / "file")
        disk.remove(top / "file")
        file.write(b"x", 0)
        file.close()
        assert disk.names(top) == []

    @pytest.mark.parametrize(
        "ask",
        [
            lambda disk, path: disk.names(path),
            lambda disk, path: disk.size(path),
            lambda disk, path: disk.open(path),
            read,
            lambda disk, path: disk.remove(path),
            lambda disk, path: disk.rename(path, path.with_name("other")),
            lambda disk, path: disk.create(path / "file"),
            lambda disk, path: disk.sync_directory(path),
            lambda disk, path: disk.lock(path / "lock"),
        ],
    )
    def test_what_is_not_there(self, place: Place, ask: Callable[[Disk, Path], object]) -> None:
        """Fails with an OSError that names what is missing: messages to people are made of it."""
        disk, top = place
        with pytest.raises(FileNotFoundError) as caught:
            ask(disk, top / "missing")
        assert str(caught.value.filename).startswith(str(top / "missing"))

    def test_a_file_is_no_directory(self, place: Place) -> None:
        """Whatever a user gives as dataDir, it ends in an OSError."""
        disk, top = place
        put(disk, top / "file", b"")
        with pytest.raises(NotADirectoryError):
            disk.make_directory(top / "file")
        with pytest.raises(NotADirectoryError):
            disk.make_directory(top / "file" / "version-2")
        with pytest.raises(NotADirectoryError):
            disk.names(top / "file")

    def test_a_lock_is_held_once(self, place: Place) -> None:
        """Two servers on one directory: the second is told.  The file stays, and does not matter."""
        disk, top = place
        unlock = disk.lock(top / "lock")
        assert unlock is not None
        assert disk.lock(top / "lock") is None
        assert disk.names(top) == ["lock"]
        unlock()
        again = disk.lock(top / "lock")
        assert again is not None
        again()

    def test_what_has_two_names(self, place: Place) -> None:
        """By dots all of them know it; it need not be there."""
        disk, top = place
        assert disk.resolve(top / "a" / ".." / "b") == disk.resolve(top / "b") != disk.resolve(top / "a")


def simulated(name: str) -> Worker:
    return SimWorker()


def run_with(kind: Callable[[str], Worker], main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=SimClock() if kind is simulated else None)


@pytest.mark.parametrize(
    "kind", [ThreadWorker, PromptWorker, simulated], ids=["thread", "prompt", "simulated"]
)
class TestWorker:
    """What the thread does, the others do."""

    def test_one_after_the_other(self, kind: Callable[[str], Worker]) -> None:
        """Jobs are done in order, and told of in order, in Trio's thread."""

        async def main() -> None:
            worker = kind("worker")
            heard: list[object] = []
            finished = trio.Event()

            def tell(number: int) -> Callable[[BaseException | None], None]:
                def done(failure: BaseException | None) -> None:
                    trio.lowlevel.current_trio_token()  # raises elsewhere
                    heard.append((number, failure, list(worked)))
                    if number == 3:
                        finished.set()

                return done

            worked: list[int] = []
            for number in range(4):
                worker.submit(lambda number=number: worked.append(number), tell(number))  # type: ignore[misc]
            assert heard == []
            await finished.wait()
            worker.stop()
            assert [entry[:2] for entry in heard] == [(0, None), (1, None), (2, None), (3, None)]  # type: ignore[index]

        run_with(kind, main)

    def test_what_goes_wrong_is_handed_over(self, kind: Callable[[str], Worker]) -> None:
        """A job that fails tells why, and the next one is done all the same."""

        async def main() -> None:
            worker = kind("worker")

            def fail() -> None:
                raise OSError(errno.ENOSPC, "full")

            with pytest.raises(OSError, match="full"):
                await in_worker(worker, fail)
            assert await in_worker(worker, lambda: 42) == 42
            worker.stop()

        run_with(kind, main)

    def test_stopping_finishes_the_work(self, kind: Callable[[str], Worker]) -> None:
        """What was submitted is done when ``stop`` returns: the log is closed after that."""

        async def main() -> None:
            worker = kind("worker")
            worked: list[int] = []
            for number in range(5):
                worker.submit(lambda number=number: worked.append(number), lambda failure: None)  # type: ignore[misc]
            worker.stop()
            assert worked == [0, 1, 2, 3, 4]

        run_with(kind, main)


def test_the_simulated_worker_takes_virtual_time() -> None:
    """No thread, no real waiting: a flush of ten minutes takes none."""

    async def main() -> None:
        worker = SimWorker(lambda: 600.0)
        await in_worker(worker, lambda: None)
        assert trio.current_time() >= 600
        worker.hold()
        with trio.move_on_after(1000) as scope:
            await in_worker(worker, lambda: None)
        assert scope.cancelled_caught
        worker.release()
        await trio.sleep(1000)
        assert worker.done == 2
        worker.stop()

    trio.run(main, clock=SimClock())


def test_allocating_ahead_takes_no_memory() -> None:
    """A log grows by 64 MiB of zeros at a time; in memory they are only read, and gone when it is cut."""
    disk = MemoryDisk(existing=(Path("/d"),))
    file = disk.create(Path("/d/log"))
    file.write(b"header", 0)
    file.truncate(64 << 20)
    assert (disk.size(Path("/d/log")), disk.used()) == (64 << 20, 6)
    file.write(b"entry", 10)
    assert disk.used() == 15
    assert read(disk, Path("/d/log"))[:20] == b"header\0\0\0\0entry\0\0\0\0\0"
    assert len(read(disk, Path("/d/log"))) == 64 << 20
    file.truncate(3)
    file.truncate(8)
    assert read(disk, Path("/d/log")) == b"hea\0\0\0\0\0"


TOP = Path("/disk")


def outcomes(prepare: Callable[[SimDisk], object], **how: bool) -> set[tuple[tuple[str, bytes], ...]]:
    """All that a power failure can leave, as far as 300 seeds show it."""
    found = set()
    for seed in range(300):
        disk = SimDisk(seed, existing=(TOP,))
        prepare(disk)
        after = disk.crash(seed, **how)
        found.add(tuple((name, after.contents(TOP / name)) for name in after.listing(TOP)))
    return found


class TestCrash:
    """What a power failure can and cannot do."""

    def test_what_was_synced_stays(self) -> None:
        """Bytes by a sync of the file, its name by one of the directory."""

        def prepare(disk: SimDisk) -> None:
            file = disk.create(TOP / "file")
            file.write(b"safe", 0)
            file.sync()
            disk.sync_directory(TOP)

        assert outcomes(prepare) == {(("file", b"safe"),)}

    def test_a_name_that_was_not_synced_may_be_gone(self) -> None:
        """However well synced the file is."""

        def prepare(disk: SimDisk) -> None:
            file = disk.create(TOP / "file")
            file.write(b"safe", 0)
            file.sync()

        assert outcomes(prepare) == {(), (("file", b"safe"),)}

    def test_a_write_is_torn_anywhere(self) -> None:
        """Of what was not synced any beginning may be there, with or without the size that it needs."""

        def prepare(disk: SimDisk) -> None:
            file = disk.create(TOP / "file")
            file.write(b"safe", 0)
            file.sync()
            disk.sync_directory(TOP)
            file.write(b"more", 4)

        found = {data for ((_, data),) in outcomes(prepare)}
        assert found == {b"safe", b"safem", b"safemo", b"safemor", b"safemore"} | {
            b"safe\0\0\0\0",
            b"safem\0\0\0",
            b"safemo\0\0",
            b"safemor\0",
        }

    def test_the_first_of_several_writes_may_be_all_that_is_left(self) -> None:
        """Writes are kept in their order, unless they are scattered."""

        def prepare(disk: SimDisk) -> None:
            file = disk.create(TOP / "file")
            disk.sync_directory(TOP)
            file.truncate(3 * 512)
            for number in range(3):
                file.write(bytes([65 + number]) * 512, number * 512)

        ordered = {data[::512].rstrip(b"\0") for ((_, data),) in outcomes(prepare)}
        assert ordered == {b"", b"A", b"AB", b"ABC"}
        scattered = {data[::512] for ((_, data),) in outcomes(prepare, scattered=True)}
        assert b"\0B\0" in scattered
        assert b"A\0C" in scattered

    def test_a_rename_happens_or_does_not(self) -> None:
        """Never half: there is the old name, or the new one, and the whole file behind it."""

        def prepare(disk: SimDisk) -> None:
            file = disk.create(TOP / "old")
            file.write(b"data", 0)
            file.sync()
            disk.sync_directory(TOP)
            disk.rename(TOP / "old", TOP / "new")

        assert outcomes(prepare) == {(("old", b"data"),), (("new", b"data"),)}

    def test_a_removal_may_not_have_happened(self) -> None:
        """A log that was purged may be there again."""

        def prepare(disk: SimDisk) -> None:
            disk.put(TOP / "file", b"data")
            disk.remove(TOP / "file")

        assert outcomes(prepare) == {(), (("file", b"data"),)}

    def test_a_killed_process_loses_nothing(self) -> None:
        """The machine runs on; but what was not synced is still not synced."""
        disk = SimDisk(existing=(TOP,))
        file = disk.create(TOP / "file")
        file.write(b"data", 0)
        disk.lock(TOP / "lock")
        disk = disk.kill()
        assert disk.contents(TOP / "file") == b"data"
        assert disk.lock(TOP / "lock") is not None
        assert {tuple(disk.crash(seed).listing(TOP)) for seed in range(100)} > {(), ("file", "lock")}

    def test_after_a_failed_sync_no_other_one_helps(self) -> None:
        """As Linux has it: the pages count as clean, are shown, and may never get to the disk."""

        def prepare(disk: SimDisk) -> None:
            file = disk.create(TOP / "file")
            disk.sync_directory(TOP)
            file.write(b"data", 0)
            disk.fail_at(1, errno.EIO)
            with pytest.raises(OSError, match="error"):
                file.sync()
            file.sync()
            assert disk.contents(TOP / "file") == b"data"

        assert (("file", b""),) in outcomes(prepare)


class TestFaults:
    """Any call can be made to fail."""

    def test_the_nth_call_fails_once(self) -> None:
        """Counted from now; it does nothing, and says which file it was about."""
        disk = SimDisk(existing=(TOP,))
        disk.names(TOP)
        disk.fail_at(2, errno.ENOSPC)
        disk.names(TOP)
        with pytest.raises(OSError, match="No space left") as caught:
            disk.create(TOP / "file")
        assert caught.value.filename == "/disk/file"
        assert disk.names(TOP) == []
        assert disk.journal == ["names disk", "names disk", "create file", "names disk"]

    def test_half_of_it_may_be_done(self) -> None:
        """A write that fails may have written something, a rename that fails may have happened."""
        disk = SimDisk(existing=(TOP,))
        file = disk.create(TOP / "file")
        lengths = set()
        for _ in range(50):
            disk.fail_at(1, errno.EIO, half=True)
            with pytest.raises(OSError, match="error"):
                file.write(b"0123456789", 0)
            lengths.add(len(disk.contents(TOP / "file")))
            file.truncate(0)
        assert {0, 5, 10} <= lengths
        disk.fail_at(1, errno.EIO, half=True)
        with pytest.raises(OSError, match="error"):
            disk.rename(TOP / "file", TOP / "other")
        assert disk.listing(TOP) == ["other"]

    def test_all_calls_may_fail_from_there_on(self) -> None:
        """A disk that is gone."""
        disk = SimDisk(existing=(TOP,))
        disk.fail_at(1, errno.EIO, forever=True)
        for _ in range(3):
            with pytest.raises(OSError, match="error"):
                disk.names(TOP)

    def test_the_power_fails_in_the_middle_of_a_call(self) -> None:
        """From then on the machine is off."""
        disk = SimDisk(existing=(TOP,))
        disk.power_off_at(2)
        file = disk.create(TOP / "file")
        for _ in range(2):
            with pytest.raises(PowerFailure):
                file.write(b"0123456789", 0)
        assert disk.calls == 2


def test_who_is_alone_need_not_wait_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are done at once for one client alone, as long as the disk is quick and nothing is under way."""
    now = 0.0
    monkeypatch.setattr("pyzkserver.storage.disk.time.perf_counter", lambda: now)
    threads: list[threading.Thread] = []

    async def main() -> None:
        nonlocal now
        worker = ThreadWorker("alone")
        here = threading.current_thread()

        def job(seconds: float = 0.0) -> None:
            nonlocal now
            threads.append(threading.current_thread())
            now += seconds

        await in_worker(worker, job)
        assert threads.pop() is not here, "somebody else may have to be served"
        worker.alone = lambda: True
        told: list[BaseException | None] = []
        worker.submit(job, told.append)
        assert (threads.pop(), told) == (here, [None])
        worker.submit(lambda: 1 / 0, told.append)  # type: ignore[arg-type, return-value]
        assert isinstance(told[1], ZeroDivisionError)
        worker.submit(lambda: job(1.0), told.append)  # the disk has become slow
        assert threads.pop() is here
        await in_worker(worker, job)
        assert threads.pop() is not here
        done = trio.Event()
        worker.alone = lambda: False
        worker.submit(job, lambda failure: done.set())
        worker.alone = lambda: True
        worker.submit(job, told.append)  # the one before it may still be at work
        await done.wait()
        assert here not in threads
        worker.stop()

    trio.run(main)

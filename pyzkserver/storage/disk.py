"""The disk: the few operations that storage needs of it, each of which can fail.

A simulated disk in the tests stands in for it: one that forgets what was not synced, tears the last write,
and fails at any call.  Everything here blocks; who may not, calls it from a ``Worker``'s thread.
"""

import errno
import fcntl
import math
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import trio

__all__ = ["Disk", "File", "RealDisk", "RealFile", "ThreadWorker", "Worker", "in_worker"]

T = TypeVar("T")

_CHUNK = 1 << 20


class File(Protocol):
    """A file that is being written."""

    def write(self, data: bytes, position: int) -> None:
        """Write all of it there.  Raises OSError."""

    def sync(self) -> None:
        """Make durable what was written (the data, and the size that it needs)."""

    def truncate(self, size: int) -> None:
        """Cut it, or let it grow by zeros."""

    def close(self) -> None:
        """Give it back.  What was not synced may be lost all the same."""


class Disk(Protocol):
    """A file system."""

    def make_directory(self, path: Path) -> None:
        """Make it and its parents, unless it is there.  Either way it is durable, as far as that is ours."""

    def names(self, path: Path) -> list[str]:
        """What is in a directory."""

    def size(self, path: Path) -> int:
        """A file's size in bytes."""

    def shared(self, path: Path) -> bool:
        """Whether a file has another name, too: its bytes are somebody else's as well, a backup's perhaps."""

    def create(self, path: Path) -> File:
        """A new, empty file; one that is there is emptied."""

    def open(self, path: Path) -> File:
        """A file that is there, to be written."""

    def read(self, path: Path, start: int = 0) -> Iterator[bytes]:
        """A file's bytes from there on, in chunks."""

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name; one that had it is gone."""

    def remove(self, path: Path) -> None:
        """Delete a file."""

    def sync_directory(self, path: Path) -> None:
        """Make durable which files a directory holds."""

    def lock(self, path: Path) -> Callable[[], None] | None:
        """Lock by a file of this name, and return what unlocks; None where another process has it."""

    def resolve(self, path: Path) -> Path:
        """The one name of what may have several, by symbolic links or dots.  It need not exist."""


class RealFile:
    """A file of the operating system."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes, position: int) -> None:
        """Write all of it there."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, position)
            view = view[written:]
            position += written

    def sync(self) -> None:
        """fdatasync, where there is one."""
        _sync_data(self._descriptor)

    def truncate(self, size: int) -> None:
        """Cut it, or let it grow by zeros."""
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        """Give it back."""
        os.close(self._descriptor)


def _sync_data(descriptor: int) -> None:
    # On macOS an fsync leaves the data in the drive's cache; Java asks for more there, too.
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        try:
            fcntl.fcntl(descriptor, full)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EINVAL):
                raise
    getattr(os, "fdatasync", os.fsync)(descriptor)


class RealDisk:
    """The operating system's."""

    def make_directory(self, path: Path) -> None:
        """Make it and its parents, unless it is there."""
        if path.is_dir():
            self._sync_name(path)
            return
        if path.parent != path:
            self.make_directory(path.parent)
        try:
            path.mkdir(exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
        # Whatever is synced in a directory is gone after a crash if its parent does not know of it.
        self.sync_directory(path.parent)

    def _sync_name(self, path: Path) -> None:
        """One that is there may have been made by a server that was killed before it came to sync that."""
        try:
            self.sync_directory(path.parent)
        except OSError as error:
            # What cannot be synced by us was not made by us: it is somebody else's, or a mount point.
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL, errno.EROFS):
                raise

    def names(self, path: Path) -> list[str]:
        """What is in a directory."""
        return os.listdir(path)

    def size(self, path: Path) -> int:
        """A file's size in bytes."""
        return path.stat().st_size

    def shared(self, path: Path) -> bool:
        """Whether a file has another name, too."""
        return path.stat().st_nlink > 1

    def create(self, path: Path) -> RealFile:
        """A new, empty file."""
        return RealFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644))

    def open(self, path: Path) -> RealFile:
        """A file that is there, to be written."""
        return RealFile(os.open(path, os.O_WRONLY | os.O_CLOEXEC))

    def read(self, path: Path, start: int = 0) -> Iterator[bytes]:
        """A file's bytes from there on, in chunks."""
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            while chunk := file.read(_CHUNK):
                yield chunk

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name."""
        os.replace(old, new)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()

    def sync_directory(self, path: Path) -> None:
        """Make durable which files a directory holds."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: Path) -> Callable[[], None] | None:
        """Lock by a file of this name.  However the process ends, the operating system unlocks it then."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except PermissionError as refused:
            # Another user's, whose server may be the one that has it; on a local disk reading is enough to lock.
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                raise refused from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None

        def unlock() -> None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child may hold the same descriptor
            os.close(descriptor)

        return unlock

    def resolve(self, path: Path) -> Path:
        """The one name of what may have several."""
        return Path(os.path.realpath(path))


class Worker(Protocol):
    """Does blocking work elsewhere, one job after the other."""

    def submit(self, job: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """Do the job; then call ``done`` in the server's thread, with what went wrong."""

    def stop(self) -> None:
        """Finish the jobs that were submitted.  Nobody is told of them any more."""


async def in_worker(worker: Worker, job: Callable[[], T]) -> T:
    """Do a job in the worker, and wait for what comes of it."""
    finished = trio.Event()
    results: list[T] = []
    failures: list[BaseException] = []

    def work() -> None:
        results.append(job())

    def done(failure: BaseException | None) -> None:
        if failure is not None:
            failures.append(failure)
        finished.set()

    worker.submit(work, done)
    await finished.wait()
    if failures:
        raise failures[0]
    return results[0]


_QUICK = 0.002
"""Seconds that a job may have taken for the next one to be done without the thread."""


def _never() -> bool:
    return False


class ThreadWorker:
    """A thread of its own: a hop through ``trio.to_thread`` costs a quarter of a millisecond, for each flush."""

    def __init__(self, name: str) -> None:
        token = trio.lowlevel.current_trio_token()
        self.signal: Callable[[], None] = lambda: token.run_sync_soon(self.deliver)
        """To be called by the thread when a job is done: it sees to it that Trio's thread delivers."""
        self.alone: Callable[[], bool] = _never
        """Whether nobody else could be served while a job is done.  Then the hop to the thread gains nothing."""
        self._under_way = 0
        self._took = math.inf
        self._done: deque[tuple[Callable[[BaseException | None], None], BaseException | None]] = deque()
        self._jobs: queue.SimpleQueue[
            tuple[Callable[[], None], Callable[[BaseException | None], None]] | None
        ] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """Do the job in the thread; then call ``done`` in Trio's.

        Or do both at once, where somebody who is alone waits for it, and the last one was quick: a disk that
        has become slow keeps Trio's thread waiting once.
        """
        if not self._under_way and self._took < _QUICK and self.alone():
            done(self._do(job))
            return
        self._under_way += 1
        self._jobs.put((job, done))

    def deliver(self) -> None:
        """Say what is done.  In Trio's thread."""
        while self._done:
            done, failure = self._done.popleft()
            self._under_way -= 1
            done(failure)

    def _do(self, job: Callable[[], None]) -> BaseException | None:
        """Only one thread is ever here: nothing is under way in the other one when a job is done at once."""
        started = time.perf_counter()
        failure: BaseException | None = None
        try:
            job()
        except BaseException as error:
            failure = error
        self._took = time.perf_counter() - started
        return failure

    def stop(self) -> None:
        """Finish what was submitted, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, done = entry
            self._done.append((done, self._do(job)))
            try:
                self.signal()
            except (trio.RunFinishedError, OSError):
                return  # nobody is there any more

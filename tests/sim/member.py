"""One member of a simulated ensemble: a machine with a disk, on which a server lives, dies, and lives again."""

from random import Random
from typing import TYPE_CHECKING

import trio

from pyzkserver.state.tree import DataTree
from pyzkserver.storage.filelog import StorageFailed
from pyzkserver.storage.recovery import DataDirectoryError

from .disk import PowerFailure, SimDisk
from .host import SimHost
from .running import Running
from .server import DATA_DIR

if TYPE_CHECKING:
    from .ensemble import World

__all__ = ["SimMember"]


class SimMember:
    """``disk`` outlives the lives; everything else of a life is in ``process``.

    ``crash``, ``kill`` and ``stop`` end a life; who wants another one calls ``start``.
    """

    def __init__(self, world: "World", sid: int, address: str, *, voting: bool) -> None:
        self.world = world
        self.sid = sid
        self.address = address
        self.voting = voting
        self.machine = world.network.machine(address)
        self.random = Random(f"{world.seed} member {sid}")
        self.disk = SimDisk(self.random.randrange(1 << 32), existing=(DATA_DIR.parent,))
        self.skew = 0.0
        self.tears = False
        """The next power failure tears what was not synced, for sure."""
        self.lives = 0
        self.process: Running | None = None
        self._scope = trio.CancelScope()
        self.prepare_disk()

    def prepare_disk(self) -> None:
        self.disk.make_directory(DATA_DIR)
        self.disk.put(DATA_DIR / "myid", b"%d\n" % self.sid)

    def __repr__(self) -> str:
        return f"<member {self.sid}>"

    @property
    def running(self) -> bool:
        return self.process is not None

    @property
    def host(self) -> SimHost:
        """Of the present life."""
        assert self.process is not None
        return self.process.host

    @property
    def tree(self) -> DataTree | None:
        """What its role works on, if it has one."""
        return self.process.tree if self.process is not None else None

    @property
    def held(self) -> DataTree | None:
        """What it holds, role or not."""
        return self.process.held if self.process is not None else None

    # lives

    def start(self, nursery: trio.Nursery) -> None:
        """Begin a life, unless there is one."""
        if self.process is None:
            self.machine.start()
            self.lives += 1
            self.world.note(f"{self.address} starts")
            host = SimHost(
                self.disk,
                Random(self.random.randrange(1 << 32)),
                slowness=self.world.slowness,
                machine=self.machine,
            )
            host.wall_clock_skew = self.skew
            self.process = Running(self, host)
            self._scope = trio.CancelScope()
            nursery.start_soon(self._live, self.process, self._scope)

    async def _live(self, process: Running, scope: trio.CancelScope) -> None:
        """Until it is ended from outside, or its disk ends it."""
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_power_fails, process)
                    await process.run()
                    nursery.cancel_scope.cancel()
        except* PowerFailure:
            # In a call that was made outside of the workers: while it started, for instance.
            self.power_failed(process)
        except* StorageFailed as failure:
            self.gave_up(process, failure)
        except* DataDirectoryError as failure:
            if "Input/output error" not in str(_innermost(failure)) and "No space" not in str(
                _innermost(failure)
            ):
                self.world.checker.violated("recovery", f"{self.address}: {_innermost(failure)}")
            self.gave_up(process, failure)

    async def _until_power_fails(self, process: Running) -> None:
        await process.host.power_failed.wait()
        self.power_failed(process)

    def power_failed(self, process: Running) -> None:
        if self.process is process:
            self.crash()
            self.world.start_later(self, self.random.uniform(0.05, 1.0))

    def gave_up(self, process: Running, failure: BaseException) -> None:
        if self.process is process:
            self.world.note(f"{self.address} gives up: {_innermost(failure)}")
            self._end()
            self.machine.kill()
            self.disk = self.disk.kill()
            self.world.start_later(self, self.random.uniform(0.05, 1.0))

    def crash(self) -> None:
        """The power fails: nobody is told, and what was not synced may be lost, or torn."""
        self.world.note(f"{self.address} loses its power")
        self.machine.crash()
        self._end()
        self.world.counts["torn disks" if self.tears and self.disk.waiting else "crashes"] += 1
        self.disk = self.disk.crash(self.random.randrange(1 << 32), torn=self.tears)
        self.tears = False

    def kill(self) -> None:
        """The process is killed: its connections are closed, its files are as they are."""
        self.world.note(f"{self.address} is killed")
        self._end()
        self.machine.kill()
        self.disk = self.disk.kill()

    def stop(self) -> None:
        """It is asked to end, and does."""
        self.world.note(f"{self.address} is stopped")
        process, self.process = self.process, None
        assert process is not None
        self._scope.cancel()
        try:
            process.stopped()
        except PowerFailure:
            process.abandon()
            self.machine.crash()
            self.disk = self.disk.crash(self.random.randrange(1 << 32))
            return
        self.machine.kill()
        self.disk = self.disk.kill()

    def _end(self) -> None:
        process, self.process = self.process, None
        assert process is not None
        process.abandon()
        self._scope.cancel()


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

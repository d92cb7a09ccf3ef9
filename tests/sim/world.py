"""A whole life under simulation: servers that crash, one after the other, and clients that remember.

After every start two things are held against what the server recovered: the book of the clients, which knows
nothing of logs, and a second tree that was led by the transactions which servers logged.
"""

import errno
from random import Random
from typing import Any

import trio
from storage.histories import appearance, apply

from pyzkserver.config import Config
from pyzkserver.state.digest import node_digest
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.filelog import StorageFailed
from pyzkserver.storage.recovery import DataDirectoryError, Recovered
from pyzkserver.storage.txncodec import decode_transaction
from pyzkserver.wire.txns import CreateSessionTxn

from .clients import Book, SimClient
from .disk import PowerFailure, SimDisk
from .host import SimHost, seeded_run
from .server import DATA_DIR, SimServer, settings

__all__ = ["Reference", "World", "innermost", "live"]


class Reference:
    """What the transactions lead to that were logged, and turned out to have been kept."""

    def __init__(self) -> None:
        self.tree = DataTree(extended_types=True)
        self.sessions: dict[int, int] = {}
        self._logged: dict[int, bytes] = {}
        self._opened: set[int] = set()
        """Sessions that were asked for: a snapshot may hold them before the log has them safe."""

    def watch(self, server: SimServer) -> None:
        """Take note of whatever this server logs."""
        log, append = server.store.log, server.replica.log.append_payloads

        def noted(first: int, last: int, payloads: list[bytes], digested: bool = True) -> None:
            for zxid, payload in enumerate(payloads, first):
                self._logged[zxid] = payload
                txn = decode_transaction(payload).txn
                assert txn.zxid == zxid
                if isinstance(txn.body, CreateSessionTxn):
                    self._opened.add(txn.session_id)
            append(first, last, payloads, digested)

        log.append_payloads = noted  # type: ignore[union-attr, method-assign]

    def check(self, recovered: Recovered) -> None:
        """Follow up to where the server recovered to, and be in the same state."""
        tree = recovered.tree
        while self.tree.last_zxid < tree.last_zxid:
            payload = self._logged.pop(self.tree.last_zxid + 1)
            apply(decode_transaction(payload).txn, self.tree, self.sessions)
        self._logged.clear()
        assert appearance(tree) == appearance(self.tree)
        assert tree.digest.value() == recount(tree)
        assert recovered.mismatches == 0
        extra = recovered.sessions.keys() - self.sessions.keys()
        assert extra <= self._opened
        assert recovered.sessions == {**self.sessions, **{each: recovered.sessions[each] for each in extra}}
        self.sessions = dict(recovered.sessions)


def recount(tree: DataTree) -> int:
    """The tree's digest, summed up from nothing."""
    return sum(node_digest(path, node) for path, node in tree.nodes.items() if path != "/") & (1 << 64) - 1


class World:
    """One seed's world."""

    def __init__(self, seed: int, *, lives: int = 3, scattered: bool = False) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.lives = lives
        self.scattered = scattered
        self.book = Book()
        self.reference = Reference()
        self.disk = SimDisk(seed, existing=(DATA_DIR.parent,))
        self.config = self._any_settings()
        self.clients = [
            SimClient(f"c{number}", self.book, Random(f"{seed} {number}"), timeout=2000)
            for number in range(4)
        ]
        self.counts: dict[str, int] = {}

    def _any_settings(self) -> Config:
        random = self.random
        changes: dict[str, Any] = {
            "snap_count": random.choice((8, 40, 40, 100_000)),
            "txn_log_size_limit_in_kb": random.choice((-1, 2)),
            "auto_purge_purge_interval": random.choice((0, 1)),
            "snapshot_compression_method": random.choice(("", "", "gz")),
            "container_check_interval_ms": 300,
        }
        return settings(**changes)

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        self.book.note(what)

    async def run(self) -> None:
        """Live through all lives, and one more in peace."""
        for life in range(self.lives):
            server = await self._start(rough=True)
            await self._live(server, self.random.choice((0.05, 0.1, 0.25)), rough=True, first=life == 0)
        server = await self._start(rough=False)
        await self._live(server, 0.05, rough=False, first=False)
        server = await self._start(rough=False)
        server.stop()

    async def _start(self, *, rough: bool) -> SimServer:
        """A server that recovered, and what it recovered was right."""
        while True:
            if rough and self.random.random() < 0.2:
                self.disk.power_off_at(self.random.randrange(1, 30))
            elif rough and self.random.random() < 0.2:
                self.disk.fail_at(self.random.randrange(1, 30), errno.EIO, half=self.random.random() < 0.5)
            random = Random(self.random.randrange(1 << 32))
            host = SimHost(self.disk, random, slowness=self.random.choice((0.0, 0.002, 0.05)))
            try:
                server = SimServer(self.config, host)
            except PowerFailure:
                self.count("an end during recovery")
                self._power_fails()
            except DataDirectoryError as error:
                if "Input/output error" not in str(error):
                    raise
                self.count("recovery meets an I/O error")
                self.disk = self.disk.kill()
            else:
                self.book.note(f"recovered up to 0x{server.recovered.tree.last_zxid:x}")
                self.reference.check(server.recovered)
                self.book.check(server.recovered.tree)
                self.reference.watch(server)
                return server

    def _power_fails(self) -> None:
        """Or just the process is killed, in the middle of a call: then nothing is lost yet."""
        if self.random.random() < 0.4:
            self.count("killed")
            self.disk = self.disk.kill()
            return
        self.count("the power fails")
        self.disk = self.disk.crash(self.random.randrange(1 << 32), scattered=self.scattered)

    async def _live(self, server: SimServer, seconds: float, *, rough: bool, first: bool) -> None:
        fault = (
            self.random.choice(("power", "power", "call", "kill", "stop", "disk", "dead disk"))
            if rough
            else "stop"
        )
        if fault == "call":
            self.disk.power_off_at(self.random.randrange(1, self.random.choice((10, 50, 200))))
        elif fault == "disk":
            half = self.random.random() < 0.5
            self.disk.fail_at(
                self.random.randrange(1, self.random.choice((10, 50, 200))), errno.ENOSPC, half=half
            )
        elif fault == "dead disk":
            self.disk.fail_at(
                self.random.randrange(1, self.random.choice((10, 50, 200))), errno.EIO, forever=True
            )
        failure = await self._serve(server, seconds, first=first)
        self._end(server, fault, failure)
        for client in self.clients:
            client.hang_up()
        for complaint in self.book.complaints:
            raise complaint

    async def _serve(self, server: SimServer, seconds: float, *, first: bool) -> StorageFailed | None:
        """Until the time is up, the power fails or the server gives up; the latter is returned."""
        pause = self.random.choice((0.002, 0.01, 0.02))
        try:
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.run)
                    nursery.start_soon(self._until_power_fails, server, nursery.cancel_scope)
                    if first:
                        await self._furnish(server)
                    for client in self.clients:
                        nursery.start_soon(client.run, server, pause)
        except BaseExceptionGroup as group:
            error = innermost(group)
            if not isinstance(error, StorageFailed):
                raise
            return error
        return None

    async def _until_power_fails(self, server: SimServer, scope: trio.CancelScope) -> None:
        await server.host.power_failed.wait()
        server.dead = True
        scope.cancel()

    async def _furnish(self, server: SimServer) -> None:
        furnisher = SimClient("furnisher", self.book, Random(0), timeout=2000)
        await furnisher.furnish(server)

    def _end(self, server: SimServer, fault: str, failure: StorageFailed | None) -> None:
        orderly = fault == "stop" or failure is not None
        if failure is not None:
            self.count("the log fails")
            assert server.store.log is not None
            assert self.book.shown <= server.store.log.synced
        if server.host.power_failed.is_set() or fault in ("power", "call"):
            self._power_fails()
        elif orderly:
            self.count("an orderly end")
            try:
                server.stop()
            except PowerFailure:
                self._power_fails()
            else:
                self.disk = self.disk.kill()
        else:
            self.count("killed")
            self.disk = self.disk.kill()
        server.die()


def innermost(error: BaseException) -> BaseException:
    """The one error in groups of one; a group of several as it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def live(seed: int, **how: Any) -> World:
    """Let one world run.  What fails carries the seed and how it came to that."""
    world = World(seed, **how)
    try:
        seeded_run(seed, world.run)
    except Exception as error:
        story = "\n".join(world.book.trace[-40:])
        raise AssertionError(f"seed {seed}: {error!r}\n{story}") from error
    return world

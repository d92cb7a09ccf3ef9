"""A whole ensemble with its clients, from one seed: it forms, things go wrong, everything is mended, and then the
books are compared.
"""

import gc
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from random import Random
from typing import Any

import trio
from storage.histories import appearance

from pyzkserver.quorum.history import History
from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.recovery import Recovered
from pyzkserver.wire.requests import OpCode

from . import faults, shapes
from .addresses import OBSERVER_MASTER_PORT, client_address, member_address
from .ensemble_client import REGISTERS, EnsembleClient, furnish
from .history import History as Book
from .host import seeded_run
from .invariants import Checker
from .member import SimMember
from .network import Network
from .shapes import TICK
from .tally import counted
from .taps import tap_for
from .transcript import Transcript
from .verdict import Verdict
from .world import recount

__all__ = ["TICK", "Failed", "World", "live"]

PATIENCE = 60.0
"""Virtual seconds within which a healed ensemble has to serve again, and all members have to be alike.

Half-open connections stay when everything else is mended: two of them, one after the other, that are given up after
15 seconds each, and a longer and longer pause before a vote is repeated, are still none of the members' faults.
"""


class Failed(AssertionError):
    """Something is wrong in this world.  The message tells seed and story."""


class World:
    """One seed's world.  Its shape may be given instead of chosen."""

    def __init__(
        self,
        seed: int,
        *,
        voters: int = 0,
        observers: int = -1,
        clients: int = 0,
        seconds: float = 0.0,
        mean_pause: float = 0.0,
        misfortunes: list[faults.Misfortune] | None = None,
        commit_log_count: int = 0,
        majority: bool = False,
        **config: Any,
    ) -> None:
        self.seed = seed
        self.random = random = Random(f"world {seed}")
        self.voters = voters or random.choice((3, 3, 3, 3, 5, 2, 4))
        self.observers = observers if observers >= 0 else random.choice((0, 0, 0, 1))
        self.client_count = clients or random.choice((2, 3))
        self.seconds = seconds or random.choice((1.5, 3.0, 5.0))
        self.mean_pause = mean_pause or random.choice((0.15, 0.3, 0.7))
        self.misfortunes = misfortunes
        self.slowness = random.choice((0.0, 0.002, 0.02, 0.1))
        self.config: dict[str, Any] = {
            **shapes.any_config(random),
            # In half of the worlds that have an observer it learns from followers.
            "observer_master_port": Random(f"masters {seed}").choice((0, OBSERVER_MASTER_PORT)),
            **config,
        }
        if self.config["read_only_mode_enabled"] and not seconds:
            self.seconds += 3.0  # so long it takes until a member is read-only
        self.commit_log_count = commit_log_count or random.choice((2, 6, 20, 500))
        groups = None if majority else shapes.any_groups(random, self.voters)
        self.configuration = shapes.configuration_of(self.voters, self.observers, groups)
        self.history = Book()
        self.transcript = Transcript()
        self.counts: Counter[str] = Counter()
        self.mended = False
        """Nothing more goes wrong."""
        self._tree: DataTree | None = None

    # building

    def _build(self) -> None:
        self.network = Network(
            Random(f"network {self.seed}"),
            buffer=self.random.choice((2000, 65536, 65536)),
            patience=self.random.choice((1.0, 5.0, 15.0)),
            note=self.note,
            tap=lambda stream: tap_for(stream, self.transcript),
        )
        self.members = [
            SimMember(self, sid, member_address(sid), voting=sid <= self.voters)
            for sid in range(1, self.voters + self.observers + 1)
        ]
        self.transcript.names = {member.address: f"m{member.sid}" for member in self.members}
        self.checker = self.transcript.ear = Checker(self.members, self.note)
        self.checker.quorum = self.is_quorum
        self.reachable = self.addresses
        """The members that clients try."""
        self.client_addresses = [client_address(number) for number in range(1, self.client_count + 1)]
        for number, address in enumerate(self.client_addresses, 1):
            self.transcript.names[address] = f"c{number}"

    def note(self, text: str) -> None:
        self.transcript.note(text)

    def is_quorum(self, addresses: set[str]) -> bool:
        """Whether the members at these addresses may decide."""
        ids = {member.sid for member in self.members if member.address in addresses}
        return shapes.is_quorum(self.configuration, ids)

    @property
    def addresses(self) -> list[str]:
        return [member.address for member in self.members]

    def leader(self) -> SimMember | None:
        """One that leads, as far as it knows."""
        return next((each for each in self.members if each.process is not None and each.process.leads), None)

    # what faults use

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do this then."""
        self.network.agenda.at(trio.current_time() + seconds, action)

    def start_later(self, member: SimMember, seconds: float) -> None:
        self.later(seconds, lambda: member.start(self.nursery))

    def heal(self) -> None:
        """Take all faults of the network back."""
        self.reachable[:] = self.addresses
        self.network.heal()

    # a life

    async def run(self) -> None:
        """Raises Failed, or something worse."""
        self._build()
        with _applied(self.checker), counted(self.counts):
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                nursery.start_soon(self._until_broken, nursery.cancel_scope)
                await self.story()
                nursery.cancel_scope.cancel()
        self._judge()

    async def _until_broken(self, scope: trio.CancelScope) -> None:
        await self.checker.broken.wait()
        scope.cancel()

    async def story(self) -> None:
        """What happens in this world; others may tell another one."""
        for member in self.members:
            self.start_later(member, self.random.choice((0.0, self.random.random() * 2)))
        await self.furnish()
        clients = self.start_clients()
        await faults.visit(self, Random(f"faults {self.seed}"), self.seconds, self.mean_pause)
        await self.recover(clients)

    async def furnish(self) -> None:
        """The ensemble forms, and what clients write to is created."""
        machine = self.network.machine(client_address(0))
        with trio.move_on_after(PATIENCE):
            await furnish(machine, self.addresses, self.history)
            return
        self.fail("no ensemble came about")

    def start_clients(self, **how: Any) -> list[EnsembleClient]:
        clients = []
        for number, address in enumerate(self.client_addresses, 1):
            client = EnsembleClient(
                f"c{number}",
                self.network.machine(address),
                self.reachable,
                self.history,
                Random(f"{self.seed} client {number}"),
                timeout=self.random.choice((1000, 2000)),
                pause=self.random.choice((0.04, 0.08, 0.15)),
                note=self.note,
                # Where it may be, one of them goes to read-only members as well.
                visitor=number == 1 and self.config["read_only_mode_enabled"],
                **how,
            )
            clients.append(client)
            self.nursery.start_soon(client.run)
        return clients

    async def recover(self, clients: list[EnsembleClient]) -> None:
        """Everything is mended; then everybody gets somewhere, and the members become alike."""
        self.note("everything is mended")
        self.mended = True
        self.heal()
        for member in self.members:
            member.machine.resume()
            member.disk.mend()
            if member.process is not None:
                for worker in member.process.host.workers.values():
                    worker.release()
            else:
                member.start(self.nursery)
        mended = trio.current_time()
        with trio.move_on_after(PATIENCE):
            while not all(self._wrote_since(client.name, mended) for client in clients):
                await trio.sleep(0.1)
            for client in clients:
                client.finish()
            while not (before := self._alike()) or (await trio.sleep(0.2), self._alike())[1] != before:
                await trio.sleep(0.1)
            self.check_trees()
            return
        self.fail("the ensemble is mended, and does not recover")

    def _wrote_since(self, client: str, when: float) -> bool:
        return any(
            call.client == client and call.writes and call.acknowledged and call.invoked > when
            for call in reversed(self.history.calls)
        )

    def _alike(self) -> int:
        """The last zxid of all, or 0."""
        zxids = {member.tree.last_zxid if member.tree is not None else 0 for member in self.members}
        return zxids.pop() if len(zxids) == 1 else 0

    def check_trees(self) -> None:
        """All members hold the same, to the last byte."""
        first, *others = self.members
        assert first.tree is not None
        expected = _comparable(first.tree)
        self._tree = first.tree
        for member in others:
            assert member.tree is not None
            found = _comparable(member.tree)
            if found != expected:
                self.fail(f"{member.address} and {first.address} differ: {_difference(found, expected)}")
        for member in self.members:
            assert member.tree is not None
            if member.tree.digest.value() != recount(member.tree):
                self.fail(f"{member.address} has a digest that is not its tree's")

    def summary(self) -> str:
        """A few numbers, for people."""
        return ", ".join(f"{number:d} {what}" for what, number in sorted(self.counts.items()))

    def fail(self, text: str) -> None:
        self.checker.violated("liveness" if "recover" in text or "came" in text else "agreement", text)

    @property
    def sessions(self) -> str:
        """Of which kind they are: global, local, or upgraded."""
        if not self.config["local_sessions_enabled"]:
            return "global"
        return "upgraded" if self.config["local_sessions_upgrading_enabled"] else "local"

    def _judge(self) -> None:
        complaints = list(self.checker.violations)
        if not complaints:
            line = self.checker.line(self._tree) if self._tree is not None else []
            verdict = Verdict(
                self.history, line, self.checker.established, REGISTERS, self.checker.line_to, self.sessions
            )
            complaints = verdict.complaints
            self.counts["stale"] = verdict.stale
            self.counts["undecided"] = verdict.undecided
        self.counts["writes"] = len(self.history.acknowledged_writes())
        self.counts["epochs"] = len(self.checker.established)
        self.counts["lives"] = sum(member.lives for member in self.members)
        self.counts["sessions lost"] = len(self.history.expired)
        packets = self.transcript.counts()
        self.counts["COMMIT"], self.counts["SNAP"] = packets["COMMIT"], packets["SNAP"]
        self.counts["SNAP and TRUNC"] = bool(packets["SNAP"] and packets["TRUNC"])
        self.counts["read-only answers"] = sum(
            call.read_only and call.returned is not None for call in self.history.calls
        )
        for name in ("leader_serves", "sync_enabled"):
            self.counts[f"worlds with {name}=no"] = not self.config[name]
        for name in ("local_sessions_enabled", "read_only_mode_enabled"):
            self.counts[f"worlds with {name}"] = self.config[name]
        self.counts["sessions upgraded"] = self.sessions == "upgraded" and sum(
            txn.op == OpCode.CREATE_SESSION for txn in self.checker.transactions.values()
        )
        self.counts["worlds with observers"] = self.observers > 0
        self.counts["worlds with observer masters"] = self.observers > 0 and bool(
            self.config["observer_master_port"]
        )
        self.counts["worlds with groups"] = self.configuration.hierarchical
        if complaints:
            raise Failed("\n".join(complaints))


def _comparable(tree: DataTree) -> dict[str, Any]:
    """What all members must have alike: the node with the configuration may be as old as its member."""
    shown = appearance(tree)
    # A leader counts a node's digest as soon as its change is proposed; that of the tree is compared.
    shown["nodes"] = {path: node[:-1] for path, node in shown["nodes"].items()}
    shown["nodes"].pop("/zookeeper/config", None)
    return shown


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    nodes, others = one["nodes"], other["nodes"]
    words = [f"{key} {one[key]}, {other[key]}" for key in one if key != "nodes" and one[key] != other[key]]
    words += [
        f"{path} {nodes.get(path)}, {others.get(path)}"
        for path in nodes | others
        if nodes.get(path) != others.get(path)
    ]
    return "; ".join(words)


@contextmanager
def _applied(checker: Checker) -> Any:
    """Let the checker hear of everything that any tree applies."""
    apply, take = DataTree.apply, History._take

    def watched(tree: DataTree, txn: Transaction) -> Any:
        before = tree.last_zxid
        applied = apply(tree, txn)
        checker.applied(tree, txn, before)
        return applied

    def taken(history: History, recovered: Recovered) -> None:
        take(history, recovered)
        checker.recovered(history.tree)

    DataTree.apply = watched  # type: ignore[method-assign]
    History._take = taken  # type: ignore[method-assign]
    try:
        yield
    finally:
        DataTree.apply = apply  # type: ignore[method-assign]
        History._take = take  # type: ignore[method-assign]


def live(seed: int, world: World | None = None, **shape: Any) -> World:
    """Let one world run.  What fails carries the seed, and how it came to that, behind an empty line."""
    world = world or World(seed, **shape)
    gc.disable()  # a tenth of the time; what a world leaves is little
    try:
        seeded_run(seed, world.run)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        what = str(error) if isinstance(error, Failed) else "".join(traceback.format_exception(error))
        raise Failed(f"seed {seed}: {what.strip()}\n\n{world.transcript.text(300)}") from error
    finally:
        gc.enable()
    return world

"""``ensemble.faults``: the faults of a server, wherever its clients are connected, and those between members."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from pyzkserver.testing.network import Network, machine_of

from .book import RuleBook
from .conditions import Silence
from .faults import Faults
from .options import check_seconds
from .rule import Limits, Rule, Target

__all__ = ["EnsembleFaults"]


class _Members(Protocol):
    """What is asked of an ensemble."""

    network: Network
    members: Any
    """Members by number."""

    def level(self, sid: int) -> None:
        """Let this one log what the leader counts as logged."""

    @property
    def leader(self) -> Any:
        """The member that leads.  Raises NotFormed where nobody does."""


_NOBODY = Target(frozenset(), None, None)


class _Between(Rule):
    """Something is wrong with the links between members; it happens at once, and counts as hit."""

    def __init__(self, description: str, pairs: Iterable[frozenset[str]]) -> None:
        super().__init__(description, _NOBODY, Limits())
        self.pairs = list(pairs)
        self.begin: Callable[[frozenset[str]], None]
        self.end: Callable[[frozenset[str]], None]

    def put_in_force(self, connections: Any) -> None:
        for pair in self.pairs:
            self.begin(pair)
        self.count(self.description)

    def taken_out(self, connections: Any) -> None:
        for pair in self.pairs:
            self.end(pair)


class _Paused(_Between):
    """A member's links are cut, and nothing passes between it and its clients."""

    def __init__(self, description: str, pairs: Iterable[frozenset[str]], book: RuleBook) -> None:
        super().__init__(description, pairs)
        self._member = book
        self._silence = Silence(description, _NOBODY, Limits(), may_miss=True)
        self._silence.from_the_start = True

    def put_in_force(self, connections: Any) -> None:
        super().put_in_force(connections)
        self._member.add(self._silence)

    def taken_out(self, connections: Any) -> None:
        super().taken_out(connections)
        self._silence.remove()


class _NextLeader(Rule):
    """Members let one of them win elections."""

    def __init__(self, description: str, network: Network, machine: str) -> None:
        super().__init__(description, _NOBODY, Limits(), may_miss=True)
        self._network = network
        self._machine = machine

    def put_in_force(self, connections: Any) -> None:
        self._network.favourite = self._machine

    def taken_out(self, connections: Any) -> None:
        if self._network.favourite == self._machine:
            self._network.favourite = None


class EnsembleFaults(Faults):
    """``Faults`` for all members at once, and what can go wrong between them.

    Rules of requests, events and connections hold at every member; for those of one, there is ``member.faults``.
    Rules between members are hit when they are made.  Members are named by number, or by themselves.
    """

    def __init__(self, book: RuleBook, run: Callable[..., Any], ensemble: _Members) -> None:
        super().__init__(book, run)
        self._ensemble = ensemble
        self._cuts: Counter[frozenset[str]] = Counter()
        """How many rules cut each link: it is mended when the last of them is removed."""

    def expire(self, client: Any) -> None:
        """Let the session of a client (or of several) expire now; its ephemeral nodes are gone at the leader.

        Raises NotFormed where nobody leads, ValueError for a session that is not there.
        """
        self._ensemble.leader.faults.expire(client)

    def partition(self, *groups: Iterable[Any]) -> Rule:
        """Cut every link between members of different groups.  Nobody is told; what is sent waits."""
        parts = [frozenset(map(self._sid, group)) for group in groups]
        if len(parts) < 2 or not all(parts):
            raise ValueError("a partition has two groups or more, and in each of them a member")
        for number, part in enumerate(parts):
            for other in parts[:number]:
                if part & other:
                    raise ValueError(f"member {min(part & other)} cannot be in two groups of a partition")
        shown = ", ".join(str(sorted(part)) for part in parts)
        pairs = {
            self._pair(one, two)
            for number, part in enumerate(parts)
            for other in parts[:number]
            for one in part
            for two in other
        }
        return self._book.add(self._cutting(_Between(f"partition({shown})", pairs)))

    def isolate(self, member: Any) -> Rule:
        """Cut a member's links to all others; its clients still reach it."""
        sid = self._sid(member)
        return self._book.add(self._cutting(_Between(f"isolate({sid})", self._links_of(sid))))

    def pause(self, member: Any) -> Rule:
        """Let nothing in or out of a member, as of a process that is stopped: neither members nor clients hear of it.

        Its own clock goes on, so it gives up its role when the others give it up.
        """
        sid = self._sid(member)
        book: RuleBook = self._ensemble.members[sid]._book
        return self._book.add(self._cutting(_Paused(f"pause({sid})", self._links_of(sid), book)))

    def lag(self, member: Any, seconds: float) -> Rule:
        """What other members send to this one, and it to them, takes so long.  Good for an observer that is behind.

        Stay below syncLimit × tickTime (2 s here, unless set), or it is given up as lost.
        """
        check_seconds("lag", seconds)
        sid, network = self._sid(member), self._ensemble.network
        rule = _Between(f"lag({sid}, {seconds:g})", self._links_of(sid))
        rule.begin = lambda pair: network.lag(pair, seconds)
        rule.end = lambda pair: network.lag(pair, 0.0)
        return self._book.add(rule)

    def next_leader(self, member: Any) -> Rule:
        """Let this member win elections as long as the rule is there, if it has all that the others have.

        An election must have a reason: kill or isolate the leader, or use ``ensemble.elect``.
        """
        sid = self._sid(member)
        self._ensemble.level(sid)
        return self._book.add(_NextLeader(f"next_leader({sid})", self._ensemble.network, machine_of(sid)))

    # links

    def _cutting(self, rule: _Between) -> _Between:
        rule.begin, rule.end = self._cut, self._mend
        return rule

    def _cut(self, pair: frozenset[str]) -> None:
        self._cuts[pair] += 1
        self._ensemble.network.cut(*pair)

    def _mend(self, pair: frozenset[str]) -> None:
        self._cuts[pair] -= 1
        if self._cuts[pair] <= 0:
            del self._cuts[pair]
            self._ensemble.network.mend(*pair)

    def _links_of(self, sid: int) -> set[frozenset[str]]:
        return {self._pair(sid, other) for other in self._ensemble.members if other != sid}

    def _pair(self, one: int, other: int) -> frozenset[str]:
        return frozenset((machine_of(one), machine_of(other)))

    def _sid(self, member: Any) -> int:
        sid = getattr(member, "sid", member)
        if sid not in self._ensemble.members:
            raise ValueError(
                f"there is no member {member!r}; there are {', '.join(map(str, self._ensemble.members))}"
            )
        return int(sid)

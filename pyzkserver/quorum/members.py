"""Who the members are and what is a quorum of them: ``QuorumVerifier`` as pure decisions.

Reading and printing the text is in ``_config/membership.py``.  Nothing here waits, connects or keeps time.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from pyzkserver._config.membership import Address, Member, Membership, parse_member, parse_membership

__all__ = ["Address", "Member", "Members", "Membership", "Tracker", "parse_member"]


@dataclass(frozen=True)
class Members:
    """One configuration of an ensemble, which never changes: a reconfiguration brings the next."""

    membership: Membership
    voting: Mapping[int, Member] = field(init=False)
    observing: Mapping[int, Member] = field(init=False)

    def __post_init__(self) -> None:
        everybody = self.membership.members
        voting = {sid: member for sid, member in everybody.items() if not member.observer}
        object.__setattr__(self, "voting", voting)
        object.__setattr__(
            self, "observing", {sid: member for sid, member in everybody.items() if member.observer}
        )

    @classmethod
    def of(cls, *members: Member, version: int = 0) -> "Members":
        """These members, of which a majority decides (``QuorumMaj``)."""
        return cls(Membership({member.id: member for member in members}, version))

    @classmethod
    def parse(cls, text: str, source: str = "configuration", *, multi_address: bool = True) -> "Members":
        """Read the text of a dynamic configuration.  Raises ConfigError."""
        return cls(parse_membership(text, source, multi_address=multi_address))

    def __str__(self) -> str:
        return self.text

    @cached_property
    def text(self) -> str:
        """As Apache's members print and send it."""
        return str(self.membership)

    def __getitem__(self, sid: int) -> Member:
        return self.membership.members[sid]

    def get(self, sid: int) -> Member | None:
        return self.membership.members.get(sid)

    def __contains__(self, sid: object) -> bool:
        return sid in self.membership.members

    @property
    def all(self) -> Mapping[int, Member]:
        """Voting and observing members by id."""
        return self.membership.members

    @property
    def version(self) -> int:
        """The zxid of the reconfiguration that made it; 0 for what stands in the first files."""
        return self.membership.version

    @property
    def hierarchical(self) -> bool:
        return self.membership.hierarchical

    def with_version(self, version: int) -> "Members":
        return Members(replace(self.membership, version=version))

    def with_client_address(self, sid: int, address: Address) -> "Members":
        """The same where member ``sid``, if its line has none, serves clients at its zoo.cfg's address."""
        member = self.get(sid)
        if member is None or member.client_address is not None:
            return self
        member = replace(member, client_address=address, client_address_is_static=True)
        return Members(replace(self.membership, members={**self.all, sid: member}))

    def weight(self, sid: int) -> int:
        """0 keeps a member from being elected (``QuorumVerifier.getWeight``)."""
        return self.membership.weights.get(sid, 0) if self.hierarchical else 1

    def contains_quorum(self, sids: Collection[int]) -> bool:
        """Whether these members together may decide.  Others in ``sids`` do not count."""
        if not self.hierarchical:
            return 2 * len(self.voting.keys() & set(sids)) > len(self.voting)
        gathered = self._weigh(set(sids))
        won = sum(1 for group, weight in gathered.items() if weight > self._group_weights[group] // 2)
        return won > sum(1 for weight in self._group_weights.values() if weight) // 2

    def is_same_as(self, other: "Members") -> bool:
        """``QuorumVerifier.equals``: equal versions are the same configuration, else all has to be equal."""
        if self.hierarchical != other.hierarchical:
            return False
        return (
            self.version == other.version
            or self.with_version(0).membership == other.with_version(0).membership
        )

    @cached_property
    def _group_weights(self) -> Mapping[int, int]:
        return self._weigh(self.membership.group_of)

    def _weigh(self, sids: Iterable[int]) -> dict[int, int]:
        """The weight that each group has in ``sids``."""
        weights: dict[int, int] = {}
        for sid in sids:
            group = self.membership.group_of.get(sid)
            if group is not None:
                weights[group] = weights.get(group, 0) + self.membership.weights[sid]
        return weights


class Tracker:
    """Who agreed, while one or two configurations have to (``SyncedLearnerTracker``).

    During a reconfiguration a quorum of the old one and a quorum of the new one must agree.
    """

    def __init__(self, *configurations: Members) -> None:
        self.configurations = configurations
        self.acks: list[set[int]] = [set() for _ in configurations]

    def add(self, sid: int) -> bool:
        """Count one member.  False if it votes in none of the configurations."""
        counted = False
        for members, acks in zip(self.configurations, self.acks, strict=True):
            if sid in members.voting:
                acks.add(sid)
                counted = True
        return counted

    @property
    def has_all_quorums(self) -> bool:
        return all(
            members.contains_quorum(acks)
            for members, acks in zip(self.configurations, self.acks, strict=True)
        )

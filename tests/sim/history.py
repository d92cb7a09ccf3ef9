"""What clients asked, when, and what they were told: the material that is judged when a world has ended."""

from dataclasses import dataclass, field
from typing import NamedTuple

from pyzkserver.errors import ErrorCode

__all__ = ["NODE_EXISTS", "NO_NODE", "Call", "Event", "History"]

NO_NODE = int(ErrorCode.NO_NODE)
NODE_EXISTS = int(ErrorCode.NODE_EXISTS)


@dataclass(slots=True)
class Call:
    """One request.  ``returned`` is None as long as there is no answer, for ever if the connection broke.

    Times are virtual seconds.  Of a read ``value`` is the data that came, and ``mzxid`` its last change; of a
    write ``value`` is what it writes, and nobody else does.
    """

    client: str
    member: str
    session_id: int
    xid: int
    kind: str
    """create, create-ephemeral, create-sequential, set, delete, multi, get, children, sync, close."""
    path: str
    invoked: float
    value: bytes | None = None
    synced: bool = False
    """A read that stands behind a sync; ``invoked`` is the sync's."""
    watch: bool = False
    connection: int = 0
    """Counts the connections of this client."""
    returned: float | None = None
    err: int = 0
    zxid: int = 0
    mzxid: int = 0
    children: list[str] = field(default_factory=list)
    read_only: bool = False
    """Its member said that it can only be read from."""
    created: str = ""
    """The path that a sequential create got."""

    @property
    def writes(self) -> bool:
        return self.kind not in ("get", "children", "sync")

    @property
    def acknowledged(self) -> bool:
        """It was answered, and not refused."""
        return self.returned is not None and self.err == 0

    def __str__(self) -> str:
        what = f"{self.client} xid {self.xid} {'synced ' if self.synced else ''}{self.kind} {self.path}"
        if self.writes and self.value:
            what += f" {self.value.decode()}"
        if self.returned is None:
            return f"{what} asked at {self.invoked:.4f} of {self.member}, never answered"
        outcome = f"error {self.err}" if self.err else "ok"
        if not self.writes and not self.err:
            outcome = (self.value or b"").decode() if self.kind == "get" else " ".join(self.children)
        return f"{what} [{self.invoked:.4f}, {self.returned:.4f}] at {self.member}: {outcome} 0x{self.zxid:x}"


class Event(NamedTuple):
    """What a watch told: the name of its type, and the path."""

    type: str
    path: str


@dataclass
class History:
    """All calls in the order they were made, and what clients heard."""

    calls: list[Call] = field(default_factory=list)
    heard: dict[str, list[Call | Event]] = field(default_factory=dict)
    """By client, in the order in which it heard of them: answers, and events."""
    expired: list[tuple[float, int]] = field(default_factory=list)
    """When clients were told that which session is no more."""

    def note(self, client: str, what: Call | Event) -> None:
        """That client heard this."""
        self.heard.setdefault(client, []).append(what)

    def acknowledged_writes(self) -> list[Call]:
        return [call for call in self.calls if call.writes and call.acknowledged]

"""The four-letter words that list what is there: dump, wchs, wchc, wchp, hash.

They cost as much as they list.  Numbers that sum it up are in ``fourletter_numbers``.
"""

from collections.abc import Iterable, Mapping
from operator import attrgetter
from time import gmtime
from typing import TYPE_CHECKING

from pyzkserver.state.sessions import to_signed

from .fourletter_numbers import remote_address, unsigned

if TYPE_CHECKING:
    from .connection import Connection
    from .service import Service

__all__ = ["dump", "wchc", "wchp", "wchs", "zxid_digests"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def dump(service: "Service", asker: "Connection") -> str:
    """Sessions and connections by the time they expire at, and the ephemeral nodes by session."""
    return (
        "SessionTracker dump:\n"
        f"{_sessions(service)}"
        "ephemeral nodes dump:\n"
        f"{_ephemerals(service.replica.tree.ephemerals)}"
        "Connections dump:\n"
        f"Connections {_buckets(service, _expiring_connections(service), len(service.connections))}"
    )


def _sessions(service: "Service") -> str:
    """The sessions whose time is counted here, apart those that only this member knows.

    A learner counts the time of no others: it tells their timeouts (``LearnerSessionTracker.dumpSessions``).
    """
    role, known = service.replica.role, service.replica.sessions.by_id.values()
    if not (role.opens_local_sessions or role.asks_elsewhere):
        return f"Session {_buckets(service, _expiring_sessions(service), len(known))}"
    lines = []
    mine, others = [each for each in known if each.local], [each for each in known if not each.local]
    if role.opens_local_sessions:
        lines.append(f"Local Session {_buckets(service, _expiring_sessions(service, local=True), len(mine))}")
    if role.asks_elsewhere or role.read_only:
        lines.append(f"Global Sessions({len(others)}):\n")
        lines += [f"{unsigned(each.id)}\t{each.timeout}ms\n" for each in sorted(others, key=attrgetter("id"))]
    else:
        expiring = _expiring_sessions(service, local=False)
        lines.append(f"Global Session {_buckets(service, expiring, len(others))}")
    return "".join(lines)


def _expiring_sessions(service: "Service", *, local: bool = False) -> dict[int, list[str]]:
    sessions = service.replica.sessions
    chosen = {
        deadline * sessions.tick: [unsigned(session.id) for session in bucket if session.local is local]
        for deadline, bucket in sessions.deadlines.items()
    }
    return {deadline: members for deadline, members in chosen.items() if members}


def _buckets(service: "Service", expiring: Mapping[int, list[str]], total: int) -> str:
    """What expires when, by elapsed milliseconds (``ExpiryQueue.dump``)."""
    elapsed_at = service.host.wall_ms() - service.host.elapsed_ms()
    lines = [f"Sets ({len(expiring)})/({total}):\n"]
    for deadline, members in sorted(expiring.items()):
        lines.append(f"{len(members)} expire at {_java_date(elapsed_at + deadline)}:\n")
        lines += [f"\t{member}\n" for member in members]
    return "".join(lines)


def _expiring_connections(service: "Service") -> dict[int, list[str]]:
    """A connection goes with its session; one without must get one in time."""
    tick, grace = service.replica.sessions.tick, service.config.sessionless_cnxn_timeout_ms
    expiring: dict[int, list[str]] = {}
    for connection in service.connections:
        session = connection.session
        if session is None:
            deadline = connection.connected_ms + grace
        elif session.deadline:
            deadline = session.deadline * tick
        else:  # a learner's: another member counts its time
            heard = max(connection.connected_ms, connection.last_response_ms)
            deadline = ((heard + session.timeout) // tick + 1) * tick
        member = f"ip: {remote_address(connection)} sessionId: {unsigned(connection.session_id)}"
        expiring.setdefault(deadline, []).append(member)
    return expiring


def _ephemerals(ephemerals: Mapping[int, Iterable[str]]) -> str:
    lines = [f"Sessions with Ephemerals ({len(ephemerals)}):\n"]
    for session_id, paths in ephemerals.items():
        lines.append(f"{unsigned(session_id)}:\n")
        lines += [f"\t{path}\n" for path in paths]
    return "".join(lines)


def _java_date(wall_ms: int) -> str:
    """``Date.toString`` of a server that lives in UTC; English whatever the locale is."""
    at = gmtime(wall_ms // 1000)
    time_of_day = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"{_DAYS[at.tm_wday]} {_MONTHS[at.tm_mon - 1]} {at.tm_mday:02} {time_of_day} UTC {at.tm_year}"


# Apache's three words know data watches only, those for existence among them: child watches are not told.


def wchs(service: "Service", asker: "Connection") -> str:
    """How many watch how much."""
    table = service.replica.tree.watches.data
    return (
        f"{len(table.by_watcher)} connections watching {len(table.by_path)} paths\n"
        f"Total watches:{len(table)}\n"
    )


def wchc(service: "Service", asker: "Connection") -> str:
    """The paths that each session watches."""
    lines: list[str] = []
    for watcher, paths in service.replica.tree.watches.data.by_watcher.items():
        lines.append(f"{unsigned(watcher.session_id)}\n")
        lines += [f"\t{path}\n" for path in paths]
    return "".join(lines) + "\n"


def wchp(service: "Service", asker: "Connection") -> str:
    """The sessions that watch each path."""
    lines: list[str] = []
    for path, watchers in service.replica.tree.watches.data.by_path.items():
        lines.append(f"{path}\n")
        lines += [f"\t{unsigned(watcher.session_id)}\n" for watcher in watchers]
    return "".join(lines) + "\n"


def zxid_digests(service: "Service", asker: "Connection") -> str:
    """The word hash: what the tree's digest was at some zxids, so that servers can be compared."""
    log = service.replica.tree.digest.log
    return "".join(f"{zxid:x}: {to_signed(digest)}\n" for zxid, digest in log)

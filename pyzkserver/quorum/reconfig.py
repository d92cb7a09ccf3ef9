"""What a reconfiguration asks for, and who leads after it.  Pure decisions; ``leader.py`` acts on them.

``PrepRequestProcessor.pRequest2Txn`` (reconfig) and ``Leader.getDesignatedLeader``.
"""

from collections.abc import Mapping

from pyzkserver._config.values import parse_integer
from pyzkserver.errors import ConfigError, ErrorCode, ZooKeeperError
from pyzkserver.wire.requests import ReconfigRequest

from .members import Member, Members, Membership, parse_member

__all__ = ["designated_leader", "next_members"]


def next_members(
    current: Members,
    request: ReconfigRequest,
    version: int,
    *,
    standalone_enabled: bool = True,
    multi_address: bool = False,
) -> Members:
    """The configuration that ``request`` makes of the current one.

    Raises ZooKeeperError: BAD_VERSION where it was made for another than the current one, BAD_ARGUMENTS for
    what makes no configuration, MARSHALLING_ERROR for what is no number (as Apache's server, which trips over it).
    """
    if request.cur_config_id not in (-1, current.version):
        raise ZooKeeperError(ErrorCode.BAD_VERSION)
    if request.new_members is not None:
        members = _whole(request.new_members, standalone_enabled, multi_address)
    else:
        members = _incremental(current, request, multi_address)
    if len(members.voting) < (2 if standalone_enabled else 1):
        raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS)
    return members.with_version(version)


def _whole(text: str, standalone_enabled: bool, multi_address: bool) -> Members:
    """A new set of lines, separated by newlines or commas."""
    try:
        members = Members.parse(text.replace(",", "\n"), multi_address=multi_address)
    except ConfigError:
        raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS) from None
    voters = len(members.voting)
    nobody = voters == 0 and (not standalone_enabled or members.observing)
    if nobody or (voters == 1 and standalone_enabled and members.observing):
        raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR)
    return members


def _incremental(current: Members, request: ReconfigRequest, multi_address: bool) -> Members:
    """Some leave, then some join.  Which group a newcomer would be in cannot be said, so there may be none."""
    if current.hierarchical:
        raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS)
    members = dict(current.all)
    for leaving in _split(request.leaving_servers):
        members.pop(_number(leaving), None)
    for joining in _split(request.joining_servers):
        joiner = _joiner(joining, multi_address)
        others = (other for other in members.values() if other.id != joiner.id)
        if any(joiner.conflict_with(other) for other in others):
            raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS)
        members[joiner.id] = joiner
    return Members(Membership(members))


def _joiner(text: str, multi_address: bool) -> Member:
    """server.N=host:port:port;port: all three ports must be said."""
    parts = _split(text, "=")
    if len(parts) != 2:
        raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS)
    sid = _number(parts[0].rpartition(".")[2])
    try:
        member = parse_member(sid, parts[1], multi_address=multi_address)
    except ValueError:
        raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS) from None
    if member.client_address is None:
        raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS)
    return member


def _number(text: str) -> int:
    try:
        number = parse_integer(text)
    except ValueError:
        raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR) from None
    if not 0 <= number < 1 << 63:
        raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR)
    return number


def _split(text: str | None, separator: str = ",") -> list[str]:
    """``StringUtils.split``: trimmed, and without what is empty."""
    return [part.strip() for part in (text or "").split(separator) if part.strip()]


def designated_leader(own: int, old: Members, new: Members, acked: Mapping[int, int], zxid: int) -> int:
    """Who leads once the reconfiguration ``zxid`` is committed.

    The leader itself, if it votes in the new configuration and learners reach it where they did; else of those
    new voters that hold the reconfiguration the one that holds most beyond it, for what it does not hold is lost.
    ``acked`` are the last zxids that members acknowledged.
    """
    here, there = old.get(own), new.voting.get(own)
    if here is not None and there is not None and here.quorum_addresses == there.quorum_addresses:
        return own
    candidates = [sid for sid in new.voting if sid != own and acked.get(sid, 0) >= zxid]
    return max(candidates, key=lambda sid: (acked[sid], -sid), default=own)

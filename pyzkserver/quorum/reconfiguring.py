"""The configurations of one time of leading: what a request makes of them, what is proposed, what is in force.

What a reconfiguration asks for, and who leads after it, is decided in ``reconfig.py``.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.storage.filelog import StorageFailed
from pyzkserver.wire.requests import ReconfigRequest

from .leading import Leading
from .local import Local
from .members import Members
from .reconfig import designated_leader, next_members

__all__ = ["Reconfigurations", "deciders"]

logger = logging.getLogger("pyzkserver.quorum")


def deciders(local: Local) -> list[Members]:
    """The configurations of which a quorum each must agree, at the moment."""
    return [local.members, local.seen] if local.seen.version > local.members.version else [local.members]


class Reconfigurations:
    """``designated`` is who leads after the last one.  ``synced`` tells who is up to date with this leader."""

    def __init__(self, local: Local, leading: Leading, synced: Callable[[], Iterable[int]]) -> None:
        self.designated = local.sid
        self._local = local
        self._leading = leading
        self._synced = synced
        self._judged: Members | None = None

    def begin(self, holders: Iterable[int], first: int) -> bool:
        """What was proposed last comes into force with this leader's first zxid, which these hold.

        Returns whether this member leads in it.
        """
        local = self._local
        before = local.members
        self._designate(local.seen, dict.fromkeys(holders, first), first)
        local.activate(local.seen)
        # (Without reconfigEnabled nothing else came into force, whatever the files said.)
        return local.members is before or self.designated == local.sid

    def judge(self, request: ReconfigRequest, zxid: int) -> bytes:
        """The configuration that it asks for.  Raises ZooKeeperError."""
        local = self._local
        if local.seen.version != local.members.version:
            raise ZooKeeperError(ErrorCode.RECONFIG_IN_PROGRESS)
        members = next_members(
            local.members,
            request,
            zxid,
            standalone_enabled=local.config.standalone_enabled,
            multi_address=local.config.multi_address_enabled,
        )
        if not members.contains_quorum({local.sid, *self._synced()}):
            raise ZooKeeperError(ErrorCode.NEW_CONFIG_NO_QUORUM)
        self._judged = members
        return members.text.encode()

    def proposed(self) -> Sequence[Members]:
        """What was judged last is proposed.  Its voters take part in elections from now on, after a crash too.

        Raises StorageFailed.
        """
        assert self._judged is not None
        self._local.see(self._judged)
        return deciders(self._local)

    def committed(self, zxid: int) -> tuple[int, Sequence[Members]]:
        """The configuration that was proposed is in force now."""
        local = self._local
        self._designate(local.seen, self._leading.proposals.acked, zxid)
        try:
            local.activate(local.seen)
        except StorageFailed as failure:
            # It is decided whatever this disk says, and a quorum holds it: the others are told, and this server
            # ends.  When it comes back it finds the configuration among those that were proposed.
            local.history.fail(failure)
        if self.designated != local.sid:
            logger.warning("member %d leads in the new configuration", self.designated)
        return self.designated, deciders(local)

    def _designate(self, members: Members, acked: Mapping[int, int], zxid: int) -> None:
        self.designated = designated_leader(self._local.sid, self._local.members, members, acked, zxid)

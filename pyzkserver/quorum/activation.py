"""What a configuration that comes into force means for a learner: whether its role goes on under the same leader."""

from collections.abc import Callable

from pyzkserver.errors import ConfigError
from pyzkserver.state.transaction import Transaction
from pyzkserver.storage.txncodec import decode_transaction
from pyzkserver.wire.txns import SetDataTxn

from .ends import LeaderLost, Reconfigured
from .local import Local
from .members import Members

__all__ = ["Activation", "configuration_in"]


class Activation:
    """For one time of following ``leader``."""

    def __init__(self, local: Local, leader: int) -> None:
        self._local = local
        self._leader = leader

    def take_over(self, announced: Members) -> bool:
        """The configuration that NEWLEADER told is in force with UPTODATE.  Whether this role can go on in it."""
        local = self._local
        before = local.members
        changed = local.activate(announced)
        return not changed and (local.members is before or not self._leader_moved(before, announced))

    def _leader_moved(self, before: Members, now: Members) -> bool:
        """Whether the leader votes in both, and is found where it was (``processReconfig``)."""
        if before.is_same_as(now):
            return False
        old, new = before.voting.get(self._leader), now.voting.get(self._leader)
        return old is None or new is None or old.quorum_addresses != new.quorum_addresses

    def activate(self, leader: int, payload: bytes, commit: Callable[[], None]) -> None:
        """Commit a reconfiguration.  Raises Reconfigured where this member, or the leader, has another place now."""
        members = configuration_in(decode_transaction(payload).txn)
        local = self._local
        before = local.members
        changed = local.activate(members)
        commit()
        if local.members is not before and (changed or leader != self._leader):
            raise Reconfigured("the members have changed", leader)


def configuration_in(txn: Transaction) -> Members:
    """What a reconfiguration's transaction holds.  Raises LeaderLost."""
    text = txn.body.data or b"" if isinstance(txn.body, SetDataTxn) else b""
    try:
        return Members.parse(text.decode("utf-8", "replace"), "the new configuration")
    except ConfigError as error:
        raise LeaderLost(f"the leader proposed 0x{txn.zxid:x}, which is no configuration: {error}") from None

"""What brings a learner to its leader's history, or to an observer master's: the packets of a DIFF or TRUNC.

Which of them it is to be is decided in ``syncplan.py``; here the transactions are found.
"""

import logging

from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.wire.quorum import PacketType, proposal_packet, short_packet

from .local import Local
from .syncplan import Sources, beginning_of, plan_sync

__all__ = ["CatchingUp"]

logger = logging.getLogger("pyzkserver.quorum")


class CatchingUp:
    """``tree`` is what the learner is to have; all that stands in it is decided."""

    def __init__(self, local: Local, tree: DataTree) -> None:
        self._local = local
        self._tree = tree

    def missing(self, peer_last: int, name: str) -> tuple[list[bytes], int] | None:
        """The packets for a learner whose log ends with ``peer_last``, and the last zxid that it has then.

        None if only the whole tree helps.  ``name`` is the learner's, for people.
        """
        config, log = self._local.config, self._local.history.commit_log
        plan = plan_sync(
            peer_last,
            processed=self._tree.last_zxid,
            first_kept=log.min_zxid if len(log) else None,
            last_kept=log.max_zxid if len(log) else None,
            log_on_disk=config.snapshot_size_factor >= 0,
            force_snapshot=config.force_snapshot_sync,
        )
        if plan.source is Sources.SNAPSHOT:
            return None
        if plan.packet is not None:
            kind, zxid = plan.packet
            logger.info("learner %s gets %s 0x%x", name, kind, zxid)
            return [short_packet(PacketType[kind], zxid)], zxid
        transactions = self._transactions(plan.source, peer_last)
        if transactions is None:
            return None
        last_committed = log.max_zxid if len(log) else self._tree.last_zxid
        beginning = beginning_of(peer_last, (txn.zxid for txn, _ in transactions), last_committed)
        if beginning is None:
            return None
        out = [short_packet(PacketType[beginning.name], beginning.zxid)]
        last = beginning.after
        for txn, payload in transactions:
            if txn.zxid > last:
                # It is committed, so its COMMIT follows at once.
                out.append(proposal_packet(PacketType.PROPOSAL, txn.zxid, payload))
                out.append(short_packet(PacketType.COMMIT, txn.zxid))
                last = txn.zxid
        logger.info(
            "learner %s, which is at 0x%x, gets %s 0x%x and %d transactions",
            name,
            peer_last,
            beginning.name,
            beginning.zxid,
            len(out) // 2,
        )
        return out, last

    def _transactions(self, source: Sources, peer_last: int) -> list[tuple[Transaction, bytes]] | None:
        """What is committed, from the learner's last on; None if that is not at hand without a gap."""
        history = self._local.history
        kept = [(entry.txn, entry.payload) for entry in history.commit_log]
        if source is Sources.COMMITTED_LOG:
            return kept
        on_disk = history.from_disk(peer_last)
        if on_disk is None:
            return None
        first_kept = kept[0][0].zxid if kept else self._tree.last_zxid
        found = []
        for txn, payload in on_disk:
            if txn.zxid > first_kept:
                break
            found.append((txn, payload))
        if not found or (kept and found[-1][0].zxid < first_kept):
            return None
        if kept and found[-1][0].zxid == first_kept:
            found.pop()
        return found + kept

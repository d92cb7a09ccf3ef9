"""The first words of a learner to whom it learns from: who it is, and which epochs it knows (discovery)."""

from pyzkserver.wire.quorum import (
    ACCEPTED_AGAIN,
    PROTOCOL_VERSION,
    LearnerInfo,
    PacketType,
    packet,
    packet_name,
)

from .ends import LeaderLost
from .local import Local
from .upstream import Upstream

__all__ = ["register"]


async def register(local: Local, upstream: Upstream, *, voting: bool) -> int:
    """Say who this is and which epoch it accepted; accept the leader's, and return it (``registerWithLeader``).

    Raises LeaderLost where that is older than one which was accepted.
    """
    epochs = local.history.epochs
    info = LearnerInfo(local.sid, PROTOCOL_VERSION, local.members.version).encode()
    kind = PacketType.FOLLOWERINFO if voting else PacketType.OBSERVERINFO
    await upstream.say(packet(kind, epochs.accepted << 32, info))
    leader = await upstream.next()
    if leader.type != PacketType.LEADERINFO:
        raise LeaderLost(f"{upstream.name} sent {packet_name(leader.type)} where LEADERINFO was due")
    epoch = leader.zxid >> 32
    if epoch < epochs.accepted:
        raise LeaderLost(
            f"the epoch {epoch} of {upstream.name} is older than {epochs.accepted}, which was accepted"
        )
    counts = epochs.current
    if epoch > epochs.accepted:
        # On disk before it is acknowledged: from here on this member follows no leader of an earlier epoch.
        epochs.set_accepted(epoch)
    else:
        # Accepted before, perhaps from this leader, perhaps before a crash: it cannot count twice.
        counts = ACCEPTED_AGAIN
    data = (counts & 0xFFFF_FFFF).to_bytes(4)
    await upstream.say(packet(PacketType.ACKEPOCH, local.history.last_zxid, data))
    return epoch

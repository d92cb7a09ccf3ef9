"""A world whose members change while everything else goes wrong."""

from random import Random

from pyzkserver.quorum.members import Members, Membership
from pyzkserver.replica.replica import Proposal
from pyzkserver.wire.requests import OpCode, ReconfigRequest

from . import faults
from .disk import PowerFailure
from .ensemble import World
from .shapes import is_quorum

__all__ = ["ChangingWorld"]


class ChangingWorld(World):
    """Somebody reconfigures it at any moment.  It has observers to begin with, who may come to vote."""

    def __init__(self, seed: int) -> None:
        random = Random(f"changing {seed}")
        known = faults.misfortunes(random)
        super().__init__(
            seed,
            voters=random.choice((3, 3, 4)),
            observers=random.choice((0, 1, 2)),
            majority=True,
            misfortunes=[*known, *[reconfigure] * len(known)],
            reconfig_enabled=True,
            skip_acl=True,
        )

    def is_quorum(self, addresses: set[str]) -> bool:
        ids = {member.sid for member in self.members if member.address in addresses}
        return any(is_quorum(members, ids) for members in self.in_force())

    def in_force(self) -> list[Members]:
        """The configurations that members have at the moment."""
        peers = [each.process.peer for each in self.members if each.process is not None]
        return [peer.members for peer in peers if peer is not None]


def reconfigure(world: World, random: Random) -> None:
    """Ask the leader for any configuration: it may refuse it, and then nothing happens."""
    leader = world.leader()
    if leader is None or leader.process is None or leader.process.peer is None or leader.machine.paused:
        return
    role = leader.process.peer.leader
    if role is None or not role.established.is_set() or not role.leading.replica.sessions.by_id:
        return
    everybody = list(world.configuration.all.values())
    voters = random.sample(everybody, random.randrange(2, len(everybody) + 1))
    lines = Members(Membership({member.id: member for member in voters})).text.splitlines()[:-1]
    text = "\n".join(line.replace(":observer", ":participant") for line in lines)
    for member in everybody:
        if member not in voters and random.random() < 0.5:
            text += f"\nserver.{member.id}={member.text.replace(':participant', ':observer')}"
    world.note(f"members are to be: {text.splitlines()}")
    replica = role.leading.replica
    session = random.choice(list(replica.sessions.by_id))
    request = ReconfigRequest(None, None, text, -1)
    proposal = Proposal(OpCode.RECONFIG, request, session, -1, (("ip", "127.0.0.1"),))
    before = role.local.seen
    try:
        replica.submit(proposal)
    except PowerFailure:
        leader.power_failed(leader.process)  # in the write that keeps the proposed configuration
        return
    if role.local.seen is not before:
        world.counts["reconfigured"] += 1

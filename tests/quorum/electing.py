"""Members that do nothing but vote, for tests of elections."""

from pyzkserver.config import Config
from pyzkserver.quorum.ballot import Vote
from pyzkserver.quorum.election import Election
from pyzkserver.quorum.members import Address, Member, Members
from pyzkserver.wire.election import ServerState


class Elector:
    """A Voter that is what its test says.  ``elect`` looks for a leader once, and then is what it became."""

    def __init__(self, sid, members, host, *, zxid=0, epoch=0, observer=False, **config):
        self.sid, self.members, self.observer = sid, members, observer
        self.next_members = None
        self.state = ServerState.LOOKING
        self.vote = Vote(sid, zxid, -1, epoch)
        self.zxid, self.epoch = zxid, epoch
        self.adopted, self.looking_sids = [], []
        self.election = Election(self, Config(sync_limit=5, **config), host)

    def last_logged_zxid(self):
        return self.zxid

    def current_epoch(self):
        return self.epoch

    def adopt_members(self, members):
        self.adopted.append(members)
        self.members = members

    def heard_looking(self, sid):
        self.looking_sids.append(sid)

    async def elect(self):
        self.state = ServerState.LOOKING
        self.vote = await self.election.look_for_leader()
        self.state = self.vote.state
        return self.vote


def bound(host, count, observers=()):
    """Listeners of ``count`` members on loopback, opened before anybody runs, and the Members that they make."""
    listeners = {sid: host.open_listener("127.0.0.1", 0) for sid in range(1, count + 1)}
    members = Members.of(
        *(
            Member(
                sid,
                (Address("127.0.0.1", 1),),
                (Address("127.0.0.1", host.port_of(listener)),),
                observer=sid in observers,
            )
            for sid, listener in listeners.items()
        )
    )
    return listeners, members

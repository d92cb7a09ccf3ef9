"""The tasks around ``ballot.py``: FastLeaderElection for one member, over its mesh of connections.

How a member uses it::

    election = Election(voter, config, host)
    await nursery.start(election.run)            # listens on the election port for as long as the member lives
    vote = await election.look_for_leader()      # while its state is LOOKING; vote.state is what it is to be

``voter`` is the member as the election sees it (``Voter``).  Who wins is decided in ``ballot.py``; connections are
``mesh.py``'s business; what a leader or learner then does is not known here.
"""

from collections.abc import Sequence
from typing import Protocol

import trio

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.quorum.ballot import Vote
from pyzkserver.quorum.members import Members, Tracker
from pyzkserver.wire.election import ServerState

__all__ = ["Election", "Voter"]


class Voter(Protocol):
    """What an election asks of its member.  Nothing here waits, so an answer is never out of date."""

    @property
    def sid(self) -> int:
        """The member's own id."""

    @property
    def members(self) -> Members:
        """The configuration that counts (``QuorumPeer.getQuorumVerifier``)."""

    @property
    def next_members(self) -> Members | None:
        """The newest one that was proposed, if it is newer than ``members`` (``getLastSeenQuorumVerifier``)."""

    @property
    def observer(self) -> bool:
        """Whether the member only observes (``getLearnerType``)."""

    @property
    def state(self) -> ServerState:
        """What the member is doing.  The member sets it, to ``vote.state`` of what ``look_for_leader`` returned,
        before it waits for anything."""

    @property
    def vote(self) -> Vote:
        """Whom it follows (``getCurrentVote``); before the first election itself.  The member keeps what
        ``look_for_leader`` returned, and puts the new epoch in as ``QuorumPeer.updateElectionVote`` does."""

    def last_logged_zxid(self) -> int:
        """The last zxid in its log."""

    def current_epoch(self) -> int:
        """The epoch on its disk."""

    def adopt_members(self, members: Members) -> None:
        """While the member is LOOKING another one told of a newer configuration (``processReconfig``)."""

    def heard_looking(self, sid: int) -> None:
        """``sid`` looks for a leader while this member has one (``Leader.reportLookingSid``)."""


class Election:
    """See the head of this module.  ``host`` is where addresses are connected to and listened on."""

    def __init__(self, voter: Voter, config: Config, host: Host) -> None:
        self._voter, self._config, self._host = voter, config, host

    async def run(
        self,
        *,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]] | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve the election port until cancelled; ready when it listens.

        ``listeners``, where given, are open already; otherwise the member's own election addresses are bound.
        Raises OSError when an address cannot be bound after ``electionPortBindRetry`` attempts.
        """
        raise NotImplementedError

    async def look_for_leader(self) -> Vote:
        """Take part in elections until there is a leader (``FastLeaderElection.lookForLeader``).

        Nothing runs between the decision and the return, so the caller changes its state in one step with it.
        """
        raise NotImplementedError

    @property
    def leading_tracker(self) -> Tracker | None:
        """Who elected this member, if it won the last election (``leadingVoteSet``)."""
        raise NotImplementedError

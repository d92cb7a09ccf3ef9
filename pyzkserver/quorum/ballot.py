"""Votes and who has won: FastLeaderElection as a state machine without clocks, sockets or tasks.

A ``Ballot`` is told what arrives and that time has passed; it says what to announce, how long to wait, and who won.
What waits and moves bytes is in ``election.py`` and ``mesh.py``.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from pyzkserver.wire.election import Notification, ServerState

from .members import Members, Tracker

__all__ = ["Ballot", "Electorate", "ServerState", "Vote", "exceeds"]

LOOKING, FOLLOWING, LEADING, OBSERVING = ServerState
_LAST_ROUND = 2**63 - 1
NOBODY = -(2**63)
"""What a member that may not be elected proposes."""
FINALIZE_WAIT = 200
"""Milliseconds without a better vote after which a quorum's choice stands (``FastLeaderElection.finalizeWait``)."""


@dataclass(frozen=True, slots=True)
class Vote:
    """Whom a member proposes or follows (``Vote``).

    ``zxid`` and ``peer_epoch`` are the proposed leader's last zxid and epoch; ``election_epoch`` is the round
    of elections (the logical clock) that it was cast in.  ``version`` is that of the notification's format.
    """

    leader: int
    zxid: int
    election_epoch: int
    peer_epoch: int
    state: ServerState = ServerState.LOOKING
    version: int = 0

    def agrees_with(self, other: "Vote") -> bool:
        """``Vote.equals``: between members that have a leader, zxid and round may differ (ZOOKEEPER-1805), and so
        may the epoch that one of before ZOOKEEPER-1732 (version 0) tells."""
        if self.leader != other.leader:
            return False
        if LOOKING in (self.state, other.state):
            return (self.zxid, self.election_epoch, self.peer_epoch) == (
                other.zxid,
                other.election_epoch,
                other.peer_epoch,
            )
        return (self.version > 0) is not (other.version > 0) or self.peer_epoch == other.peer_epoch


@dataclass(frozen=True, slots=True)
class Electorate:
    """Who votes in a round, and what the member itself brings to it.

    ``next_members`` is a configuration that was proposed and not yet committed; its voters have to agree too.
    """

    sid: int
    members: Members
    next_members: Members | None
    observer: bool
    last_logged_zxid: int
    current_epoch: int

    @property
    def voters(self) -> frozenset[int]:
        """``QuorumPeer.getCurrentAndNextConfigVoters``."""
        following = self.next_members.voting.keys() if self.next_members is not None else ()
        return frozenset(self.members.voting.keys()) | frozenset(following)

    def first_proposal(self, election_epoch: int) -> Vote:
        """Oneself; or nobody, where one may not lead."""
        leader = self.sid if self.sid in self.members.voting else NOBODY
        if self.observer:
            return Vote(leader, NOBODY, election_epoch, NOBODY)
        return Vote(leader, self.last_logged_zxid, election_epoch, self.current_epoch)

    def tracker(self, votes: Mapping[int, Vote], vote: Vote) -> Tracker:
        """Who agrees with ``vote`` (``getVoteTracker``)."""
        following = self.next_members
        if following is not None and following.version > self.members.version:
            tracker = Tracker(self.members, following)
        else:
            tracker = Tracker(self.members)
        for sid, other in votes.items():
            if vote.agrees_with(other):
                tracker.add(sid)
        return tracker


def exceeds(members: Members, new: Vote, current: Vote) -> bool:
    """Whether ``new`` proposes a better leader: epoch, then zxid, then id (``totalOrderPredicate``).

    A member of weight 0 is never better.
    """
    if members.weight(new.leader) == 0:
        return False
    return (new.peer_epoch, new.zxid, new.leader) > (current.peer_epoch, current.zxid, current.leader)


class Ballot:
    """The rounds of elections of one member.

    A round: ``begin``; then for each notification ``receive``, and after ``wait_ms`` without one ``timed_out``;
    until ``winner`` is set.  Each of the three says whether the proposal is to be announced to all voters, oneself
    included.
    """

    def __init__(self, min_interval: int = FINALIZE_WAIT, max_interval: int = 60000) -> None:
        """The intervals are ms between looks at the votes (``fastleader.minNotificationInterval``)."""
        self._min_interval, self._max_interval = min_interval, max_interval
        self.logical_clock = 0
        """The round.  It only grows, but for joining an ensemble that was elected in an earlier one, or those who
        elect in one while this member proposes nobody."""
        self.proposal = Vote(-1, -1, 0, -1)
        self.winner: Vote | None = None
        """Its ``state`` is what this member is to be."""
        self.leading_tracker: Tracker | None = None
        """Who elected this member, where it is the leader (``leadingVoteSet``)."""
        self._electorate: Electorate | None = None
        self._votes: dict[int, Vote] = {}
        """Of this round (recvset): all that are LOOKING have this election_epoch."""
        self._established: dict[int, Vote] = {}
        """Of who follows or leads, whatever the round (outofelection)."""
        self._interval = min_interval
        self._settling = False

    @property
    def wait_ms(self) -> int:
        """How long to wait for the next notification."""
        return FINALIZE_WAIT if self._settling else self._interval

    def begin(self, electorate: Electorate) -> bool:
        """A new round: propose oneself."""
        self._electorate = electorate
        self._votes, self._established = {}, {}
        self._interval, self._settling = self._min_interval, False
        self.winner = self.leading_tracker = None
        # (Whoever heard of the last number there is begins anew, as a long does in Java; in the round of that the
        # others meet it.)
        self.logical_clock = self.logical_clock + 1 if self.logical_clock < _LAST_ROUND else -_LAST_ROUND - 1
        self.proposal = electorate.first_proposal(self.logical_clock)
        return True

    def receive(self, sid: int, notification: Notification) -> bool:
        """A voter's notification: what does not come from one, or proposes none, is let be."""
        electorate = self._voting()
        if sid not in electorate.voters or notification.leader not in electorate.voters:
            return False
        vote = _vote(notification)
        if self._settling and not exceeds(electorate.members, vote, self.proposal):
            # Only a better vote undoes a quorum's choice; but the last voters may agree, or follow already.
            if vote.state is not OBSERVING and vote.election_epoch == self.logical_clock:
                self._votes[sid] = vote
            return False
        self._settling = False
        if vote.state is LOOKING:
            return self._receive_looking(sid, vote)
        if vote.state is not OBSERVING:
            self._receive_established(sid, vote, notification.version)
        return False

    def timed_out(self) -> bool:
        """Nothing came for ``wait_ms``: a quorum's choice stands, or it is time to ask again and wait longer."""
        if self._settling:
            self._win(self.proposal, self._tracker())
            return False
        self._interval = min(self._interval * 2, self._max_interval)
        return True

    def settle(self, gone: Collection[int] = ()) -> None:
        """Decide at once if every voter agreed, or is ``gone`` (nothing listens there).

        The wait for a better vote is for the better leader, not for safety: where none can come it is left out.
        """
        if self._settling:
            agreed = {sid for sid, vote in self._votes.items() if vote.agrees_with(self.proposal)}
            if agreed.union(gone) >= self._voting().voters:
                self._win(self.proposal, self._tracker())

    def _voting(self) -> Electorate:
        assert self._electorate is not None, "no round has begun"
        return self._electorate

    def _tracker(self) -> Tracker:
        return self._voting().tracker(self._votes, self.proposal)

    def _receive_looking(self, sid: int, vote: Vote) -> bool:
        electorate = self._voting()
        own = electorate.first_proposal(self.logical_clock)
        if own.zxid == -1 or vote.zxid == -1:  # a database that was not loaded yet
            return False
        if vote.election_epoch < self.logical_clock and not self._may_go_back(vote):
            return False  # who sent it is answered, and comes again in this round
        announce = False
        if vote.election_epoch != self.logical_clock:
            self.logical_clock = vote.election_epoch
            self._votes = {}
            own = electorate.first_proposal(self.logical_clock)
            self.proposal = self._proposing(vote if exceeds(electorate.members, vote, own) else own)
            announce = True
        elif exceeds(electorate.members, vote, self.proposal):
            self.proposal = self._proposing(vote)
            announce = True
        self._votes[sid] = vote
        self._settling = self._tracker().has_all_quorums
        return announce

    def _may_go_back(self, vote: Vote) -> bool:
        """Whether this member has no part in its own round yet, and finds one in an earlier.

        Who may not be elected proposes nobody, and nobody hears of its round by that.  Where it votes all the same
        (it observes here, and is a voter of a configuration that others have seen proposed) they would wait for it
        without end.  Once it has taken up a vote it stays: of two voters in different rounds it would go to and fro.
        """
        voting = self._voting()
        return self.proposal.leader == NOBODY and exceeds(voting.members, vote, self.proposal)

    def _proposing(self, vote: Vote) -> Vote:
        return Vote(vote.leader, vote.zxid, self.logical_clock, vote.peer_epoch)

    def _receive_established(self, sid: int, vote: Vote, version: int) -> None:
        """Someone follows or leads: join if a quorum does (``receivedFollowingNotification``)."""
        of_this_round, vote = vote, replace(vote, version=version)
        if vote.election_epoch == self.logical_clock:
            self._votes[sid] = of_this_round
            if self._join(self._votes, vote):
                return
        # The votes of this round are kept here as well (ZOOKEEPER-1732).
        self._established[sid] = vote
        self._join(self._established, vote)

    def _join(self, votes: Mapping[int, Vote], vote: Vote) -> bool:
        electorate = self._voting()
        if vote.leader != electorate.sid:
            # To follow decides nothing, so the configuration in force is enough.  (Apache's asks the voters of one
            # that was proposed as well: if that is never decided, this member could never come back.)
            electorate = replace(electorate, next_members=None)
        tracker = electorate.tracker(votes, vote)
        if not (tracker.has_all_quorums and self._leader_agrees(votes, vote)):
            return False
        self.logical_clock = vote.election_epoch
        self._win(vote, tracker)
        return True

    def _leader_agrees(self, votes: Mapping[int, Vote], vote: Vote) -> bool:
        """Nobody is followed who does not say himself that he leads (``checkLeader``)."""
        if vote.leader == self._voting().sid:
            return vote.election_epoch == self.logical_clock
        return vote.leader in votes and votes[vote.leader].state is LEADING

    def _win(self, vote: Vote, tracker: Tracker) -> None:
        electorate = self._voting()
        if vote.leader == electorate.sid:
            state, self.leading_tracker = LEADING, tracker
        else:
            state = OBSERVING if electorate.observer else FOLLOWING
        self._settling = False
        self.winner = Vote(vote.leader, vote.zxid, vote.election_epoch, vote.peer_epoch, state)


def _vote(notification: Notification) -> Vote:
    return Vote(
        notification.leader,
        notification.zxid,
        notification.election_epoch,
        notification.peer_epoch,
        notification.state,
    )

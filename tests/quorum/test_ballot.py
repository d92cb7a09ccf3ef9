"""Votes: who has the better one, when a quorum agrees, and whom to join.  Apache's own tests, restated, are named."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyzkserver.quorum.ballot import FINALIZE_WAIT, NOBODY, Ballot, Electorate, ServerState, Vote, exceeds
from pyzkserver.quorum.members import Address, Member, Members
from pyzkserver.wire.election import Notification

LOOKING, FOLLOWING, LEADING, OBSERVING = ServerState


def members_of(*ids, observers=(), version=0):
    return Members.of(
        *(
            Member(sid, (Address("h", sid),), (Address("h", 1000 + sid),), observer=sid in observers)
            for sid in (*ids, *observers)
        ),
        version=version,
    )


FIVE = members_of(0, 1, 2, 3, 4)
THREE = members_of(0, 1, 2)


def electorate(sid=0, members=THREE, *, following=None, observer=False, zxid=0, epoch=0):
    return Electorate(sid, members, following, observer, zxid, epoch)


def ballot_of(*args, clock=0, **kwargs):
    """A ballot whose round ``clock + 1`` has begun."""
    ballot = Ballot()
    ballot.logical_clock = clock
    assert ballot.begin(electorate(*args, **kwargs))
    return ballot


def looking(leader, zxid=0, round=1, epoch=0):
    return Notification(LOOKING, leader, zxid, round, epoch)


def following(leader, zxid=0, round=1, epoch=0, version=2):
    return Notification(FOLLOWING, leader, zxid, round, epoch, None, version)


def leading(leader, zxid=0, round=1, epoch=0, version=2):
    return Notification(LEADING, leader, zxid, round, epoch, None, version)


def echo(ballot):
    """What the member hears from itself after it announced."""
    proposal = ballot.proposal
    sid = ballot._voting().sid
    return sid, looking(proposal.leader, proposal.zxid, proposal.election_epoch, proposal.peer_epoch)


# --- which vote is better ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "current", "better"),
    [
        ((4, 0, 0), (3, 0, 2), False),  # a lower epoch
        ((0, 0, 1), (1, 0, 0), True),  # a later epoch
        ((0, 1, 0), (1, 0, 0), True),  # a higher zxid
        ((1, 1, 0), (0, 1, 0), True),  # a higher id
        ((1, 1, 0), (1, 1, 0), False),
        ((1, NOBODY, NOBODY), (1, 0, 0), False),
    ],
)
def test_the_order_of_votes(new, current, better):
    """FLEPredicateTest."""
    as_votes = [Vote(leader, zxid, 1, epoch) for leader, zxid, epoch in (new, current)]
    assert exceeds(THREE, *as_votes) is better


def test_a_member_without_weight_is_never_elected():
    """FLEZeroWeightTest."""
    text = f"{FIVE.text}\ngroup.1=0:1:2\ngroup.2=3:4\nweight.3=0\nweight.4=0"
    members = Members.parse(text)
    assert not exceeds(members, Vote(4, 9, 1, 9), Vote(0, 0, 1, 0))
    ballot = ballot_of(0, members)
    assert not ballot.receive(4, looking(4, zxid=9))
    assert ballot.proposal.leader == 0
    assert ballot.receive(2, looking(2))
    assert ballot.proposal.leader == 2


# --- which votes agree (FLEOutOfElectionTest) -------------------------------------------------------------


def zxid(epoch, counter):
    return epoch << 32 | counter


def has_quorum(votes, vote, members=FIVE):
    return electorate(3, members).tracker(votes, vote).has_all_quorums


def test_zxid_and_round_of_those_with_a_leader_do_not_matter():
    """testIgnoringZxidElectionEpoch."""
    votes = {
        0: Vote(4, zxid(1, 1), 1, 2, FOLLOWING, 1),
        1: Vote(4, zxid(1, 2), 1, 2, FOLLOWING, 1),
        3: Vote(4, zxid(2, 1), 2, 2, FOLLOWING, 1),
        4: Vote(4, zxid(2, 1), 2, 2, LEADING, 1),
    }
    assert has_quorum(votes, Vote(4, zxid(2, 1), 2, 2, FOLLOWING))


def test_the_last_round_is_followed_by_another():
    """Somebody says that it is in the last one, and all are; the next one begins, and can be told."""
    ballot = ballot_of(2)
    assert ballot.receive(1, looking(1, round=2**63 - 1))
    assert ballot.logical_clock == 2**63 - 1
    ballot.begin(electorate(2))
    _, own = echo(ballot)
    assert Notification.decode(own.encode()).election_epoch == ballot.logical_clock < 0
    # Who is still in that one is met there.
    assert ballot.receive(1, looking(1, round=2**63 - 1))
    ballot.receive(*echo(ballot))
    ballot.receive(1, looking(2, round=2**63 - 1))
    assert ballot.timed_out() is False
    assert ballot.winner is not None
    assert ballot.winner.leader == 2


def test_epochs_of_different_versions_do_not_matter():
    """testElectionWIthDifferentVersion."""
    votes = {
        0: Vote(4, zxid(1, 1), 1, 1, FOLLOWING, 1),
        1: Vote(4, zxid(1, 1), 1, 1, FOLLOWING, 1),
        3: Vote(4, zxid(2, 1), 2, 2, FOLLOWING),
        4: Vote(4, zxid(2, 1), 2, 2, LEADING),
    }
    assert has_quorum(votes, Vote(4, zxid(2, 1), 2, 2, FOLLOWING))
    same = {sid: Vote(4, vote.zxid, 1, vote.peer_epoch, vote.state) for sid, vote in votes.items()}
    assert not has_quorum(same, Vote(4, zxid(2, 1), 2, 2, FOLLOWING))


def test_those_looking_must_agree_in_everything():
    """testLookingNormal and testLookingDiffRounds."""
    same = {sid: Vote(4, zxid(2, 1), 1, 1, LEADING if sid == 4 else LOOKING) for sid in (0, 1, 3, 4)}
    assert has_quorum(same, Vote(4, zxid(2, 1), 1, 1))
    rounds = {
        0: Vote(4, zxid(1, 1), 1, 1),
        1: Vote(4, zxid(2, 1), 2, 2),
        3: Vote(4, zxid(2, 1), 3, 2),
        4: Vote(4, zxid(2, 1), 3, 2, LEADING),
    }
    assert not has_quorum(rounds, Vote(4, zxid(2, 1), 2, 2))


def test_a_late_member_joins_whom_the_others_follow():
    """testOutofElection: the rounds of the others are far ahead, and two are of an older version."""
    ballot = ballot_of(3, members_of(1, 2, 3, 4, 5))
    for sid in (1, 2):
        ballot.receive(sid, following(5, zxid(15, 0), 0xA, 0x17, version=0))
    ballot.receive(4, following(5, zxid(15, 0), 0xA, 0x18, version=1))
    assert ballot.winner is None  # a quorum follows 5, who has not said that he leads
    ballot.receive(5, leading(5, zxid(15, 0), 0xA, 0x18, version=1))
    assert ballot.winner == Vote(5, zxid(15, 0), 0xA, 0x18, FOLLOWING)
    assert ballot.logical_clock == 0xA


def test_a_configuration_that_may_follow_has_to_agree_too():
    """getVoteTracker with a lastSeenQuorumVerifier: two quorums, the old one's and the new one's."""
    new = members_of(2, 3, 4, version=7)
    ballot = ballot_of(0, THREE, following=new, zxid=9)
    ballot.receive(*echo(ballot))
    ballot.receive(1, looking(0, 9))
    assert ballot.wait_ms == FINALIZE_WAIT
    ballot.settle(gone={2, 3, 4})
    assert ballot.winner is None
    ballot.receive(3, looking(0, 9))
    ballot.receive(4, looking(0, 9))
    ballot.settle(gone={2})
    assert ballot.winner is not None
    assert ballot.leading_tracker.acks == [{0, 1}, {3, 4}]


# --- a round ----------------------------------------------------------------------------------------------


def test_alone_a_member_elects_itself():
    """standaloneEnabled=false with one member: its own vote is a quorum."""
    ballot = ballot_of(7, members_of(7), zxid=5, epoch=2)
    assert not ballot.receive(*echo(ballot))
    ballot.settle()
    assert ballot.winner == Vote(7, 5, 1, 2, LEADING)
    assert ballot.leading_tracker.acks == [{7}]


def test_a_better_vote_is_taken_over_and_announced():
    ballot = ballot_of(0, zxid=5, epoch=1)
    assert ballot.receive(1, looking(1, 6, epoch=1))
    assert ballot.proposal == Vote(1, 6, 1, 1)
    assert not ballot.receive(2, looking(2, 5, epoch=1))
    assert not ballot.receive(2, looking(1, 6, epoch=1))
    assert ballot.proposal == Vote(1, 6, 1, 1)


def test_a_later_round_is_joined_with_the_better_of_both_votes():
    """Votes of the round before are forgotten; so is a proposal taken over from somebody who said it then."""
    ballot = ballot_of(0, zxid=5)
    ballot.receive(1, looking(1, 9))
    assert ballot.receive(2, looking(2, 3, round=4))
    assert (ballot.logical_clock, ballot.proposal) == (4, Vote(0, 5, 4, 0))
    assert ballot.receive(1, looking(1, 9, round=5))
    assert (ballot.logical_clock, ballot.proposal) == (5, Vote(1, 9, 5, 0))


def test_an_earlier_round_is_not_counted():
    """Who sent it is answered, and comes again."""
    ballot = ballot_of(0, clock=7)
    assert not ballot.receive(2, looking(2, 99, round=7))
    assert ballot.proposal.leader == 0


def test_a_quorums_choice_stands_after_a_moment_without_a_better_vote():
    """finalizeWait: with one vote missing, it is given 200 ms."""
    ballot = ballot_of(0)
    assert ballot.wait_ms == 200
    ballot.receive(1, looking(1))
    ballot.receive(*echo(ballot))
    ballot.settle()
    assert ballot.winner is None
    assert not ballot.timed_out()
    assert ballot.winner == Vote(1, 0, 1, 0, FOLLOWING)


def test_a_better_vote_in_that_moment_undoes_it():
    ballot = ballot_of(0)
    ballot.receive(1, looking(1))
    ballot.receive(*echo(ballot))
    assert ballot.receive(2, looking(2))
    assert ballot.timed_out()  # so it is no longer a moment, but time to ask again
    assert ballot.winner is None


@pytest.mark.parametrize(
    "late", [looking(0), looking(0, round=9), following(0), leading(0, round=8), looking(1)]
)
def test_nothing_else_in_that_moment_matters(late):
    """lookForLeader's inner loop: what does not exceed the choice is dropped, a later round too."""
    ballot = ballot_of(0)
    ballot.receive(1, looking(1))
    ballot.receive(*echo(ballot))
    assert not ballot.receive(2, late)
    assert not ballot.timed_out()
    assert ballot.winner.leader == 1


def test_no_moment_is_needed_where_no_better_vote_can_come():
    """All voters agree, or those that do not are gone; of a voter who may come one more is waited for."""
    for gone in ({}, {2}):
        ballot = ballot_of(0)
        ballot.receive(1, looking(1))
        ballot.receive(*echo(ballot))
        if not gone:
            ballot.receive(2, looking(1))
        ballot.settle(gone)
        assert ballot.winner.leader == 1
    ballot = ballot_of(1)
    ballot.receive(0, looking(1))
    ballot.receive(*echo(ballot))
    ballot.receive(2, following(1))
    ballot.settle()
    assert ballot.winner.state is LEADING
    ballot = ballot_of(0, FIVE)
    for sid in (1, 2):
        ballot.receive(sid, looking(2))
    ballot.receive(*echo(ballot))
    ballot.settle(gone={3})
    assert ballot.winner is None


def test_who_is_gone_makes_no_quorum():
    """Two of three are gone: nobody is elected, however long one waits."""
    ballot = ballot_of(0)
    ballot.receive(*echo(ballot))
    ballot.settle(gone={1, 2})
    assert ballot.timed_out()
    assert ballot.winner is None


def test_waiting_doubles_up_to_a_minute():
    """The back-off of lookForLeader, and the settings that bound it."""
    ballot = ballot_of(0)
    waits = []
    for _ in range(11):
        waits.append(ballot.wait_ms)
        assert ballot.timed_out()
    assert waits == [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]
    ballot.begin(electorate())
    assert ballot.wait_ms == 200
    quick = Ballot(10, 25)
    quick.begin(electorate())
    waits = [quick.wait_ms]
    for _ in range(3):
        quick.timed_out()
        waits.append(quick.wait_ms)
    assert waits == [10, 20, 25, 25]


@pytest.mark.parametrize(
    ("sid", "notification"),
    [
        (7, looking(2, 99)),  # of nobody who votes
        (1, looking(7, 99)),  # for nobody who votes
        (1, looking(NOBODY, 99)),
        (1, looking(1, -1)),  # its database is not loaded
        (1, Notification(OBSERVING, 2, 99, 9, 9)),
    ],
)
def test_what_is_let_be(sid, notification):
    """Neither counted nor followed into another round."""
    ballot = ballot_of(0)
    assert not ballot.receive(sid, notification)
    assert (ballot.proposal, ballot.logical_clock) == (Vote(0, 0, 1, 0), 1)


def test_without_a_database_nobodys_proposal_is_looked_at():
    ballot = ballot_of(0, zxid=-1)
    assert not ballot.receive(1, looking(1, 5))
    assert ballot.proposal.leader == 0


# --- joining ----------------------------------------------------------------------------------------------


def test_in_the_same_round_followers_and_those_looking_count_together():
    ballot = ballot_of(0, FIVE)
    ballot.receive(1, looking(4))
    ballot.receive(2, following(4))
    ballot.receive(3, following(4))
    assert ballot.winner is None
    ballot.receive(4, leading(4))
    assert ballot.winner == Vote(4, 0, 1, 0, FOLLOWING)


def test_a_crashed_leader_is_not_elected_again():
    """checkLeader: a quorum says it follows 2, but 2 itself looks, or is silent."""
    ballot = ballot_of(3, FIVE)
    for sid in (0, 1, 4):
        ballot.receive(sid, following(2, round=5))
    assert ballot.winner is None
    ballot.receive(2, looking(2))
    assert ballot.winner is None


def test_it_leads_if_a_quorum_follows_it_in_this_round():
    """FLELostMessageTest: the vote that made it the leader was lost, and the others follow it already."""
    ballot = ballot_of(1)
    ballot.receive(0, looking(0))
    ballot.receive(*echo(ballot))
    assert ballot.winner is None
    ballot.receive(0, following(1))
    assert ballot.winner == Vote(1, 0, 1, 0, LEADING)


def test_it_does_not_lead_for_followers_of_another_round():
    """FLEBackwardElectionRoundTest (ZOOKEEPER-1514): in its first round 0 is followed and leads; then it
    looks again, and the same words of the round before do not make it the leader."""
    ballot = ballot_of(0)
    ballot.receive(1, following(0))
    ballot.receive(2, following(0))
    assert ballot.winner == Vote(0, 0, 1, 0, LEADING)
    ballot.begin(electorate())
    ballot.receive(1, following(0))
    ballot.receive(2, following(0))
    assert ballot.winner is None


def test_an_observer_counts_as_others_do_and_proposes_nobody():
    """It ends OBSERVING whom a quorum elects, or follows."""
    members = members_of(0, 1, 2, observers=(9,))
    ballot = ballot_of(9, members, observer=True, zxid=77, epoch=7)
    assert ballot.proposal == Vote(NOBODY, NOBODY, 1, NOBODY)
    assert ballot.receive(0, looking(2, 5, round=3))
    assert ballot.receive(1, looking(2, 5, round=3)) is False
    ballot.timed_out()
    assert ballot.winner == Vote(2, 5, 3, 0, OBSERVING)
    ballot.begin(electorate(9, members, observer=True))
    ballot.receive(2, leading(2, 5, round=8))
    ballot.receive(1, following(2, 5, round=8))
    assert ballot.winner == Vote(2, 5, 8, 0, OBSERVING)


def test_who_proposes_nobody_goes_back_to_the_round_of_a_voter():
    """It observes in its own configuration, and votes in one that the others have seen: they wait for its vote, and
    its round, in which it names nobody, means nothing to them (the simulator's changing world 13229)."""
    ballot = ballot_of(9, members_of(0, 1, observers=(9,)), observer=True, clock=6)
    assert ballot.receive(0, looking(1, 5, round=3))
    assert ballot.proposal == Vote(1, 5, 3, 0)


def test_who_has_taken_up_a_vote_stays_in_its_round():
    """Of two voters that are in different rounds it would go to and fro, and tell both each time."""
    ballot = ballot_of(9, members_of(0, 1, 2, observers=(9,)), observer=True, clock=6)
    assert ballot.receive(0, looking(0, 5, round=8))
    assert ballot.receive(1, looking(2, 9, round=3)) is False
    assert ballot.proposal == Vote(0, 5, 8, 0)


def test_a_vote_that_cannot_be_taken_up_leads_nobody_back():
    """For a member of weight 0: it is in no round a better vote than nobody's."""
    members = members_of(0, 1, 2, observers=(9,))
    members = Members.parse(f"{members.text}\ngroup.1=0:1:2\nweight.0=0", "this test")
    ballot = ballot_of(9, members, observer=True, clock=6)
    assert ballot.receive(1, looking(0, 5, round=3)) is False
    assert ballot.logical_clock == 7


# --- against a slow obvious oracle ------------------------------------------------------------------------

SMALL = st.integers(0, 2)
WORDS = st.tuples(SMALL, st.builds(looking, SMALL, SMALL, st.integers(1, 3), SMALL))


@given(st.lists(WORDS, max_size=12), SMALL, SMALL)
def test_proposals_agree_with_a_slow_oracle(words, own_zxid, own_epoch):
    """The proposal is the best of all that was said in the latest round; it stands if a quorum says the same.

    Said without a pause, so that no choice stands before the end.
    """
    ballot = ballot_of(0, zxid=own_zxid, epoch=own_epoch)
    ballot._settling = False
    heard = []
    for sid, notification in words:
        before = ballot.proposal
        ballot._settling = False
        announced = ballot.receive(sid, notification)
        heard.append((sid, notification))
        round_ = max([1, *(n.election_epoch for _, n in heard)])
        said = [(s, n) for s, n in heard if n.election_epoch == round_]
        best = max([(own_epoch, own_zxid, 0), *((n.peer_epoch, n.zxid, n.leader) for _, n in said)])
        proposal = ballot.proposal
        assert (proposal.peer_epoch, proposal.zxid, proposal.leader) == best
        assert proposal.election_epoch == ballot.logical_clock == round_
        assert announced == (proposal != before)
        last = {s: (n.peer_epoch, n.zxid, n.leader) for s, n in said}
        counted = notification.election_epoch == round_
        if counted:
            assert ballot._settling == (sum(vote == best for vote in last.values()) >= 2)


class Post:
    """Members whose words may be delayed, repeated, reordered across members and lost, from one seed."""

    def __init__(self, seed, count):
        self.random = Random(seed)
        self.members = members_of(*range(count))
        self.ballots = [Ballot() for _ in range(count)]
        self.standing = [(self.random.randrange(3), self.random.randrange(3)) for _ in range(count)]
        self.boxes = {(a, b): [] for a in range(count) for b in range(count)}
        self.winners = {}
        for sid in range(count):
            self.begin(sid)

    def begin(self, sid):
        self.winners.pop(sid, None)
        zxid, epoch = self.standing[sid]
        self.ballots[sid].begin(electorate(sid, self.members, zxid=zxid, epoch=epoch))
        self.announce(sid)

    def announce(self, sid):
        vote = self.ballots[sid].proposal
        for other in range(len(self.ballots)):
            self.put(sid, other, looking(vote.leader, vote.zxid, vote.election_epoch, vote.peer_epoch))

    def put(self, sid, other, notification):
        if sid == other:
            self.boxes[sid, other] = [notification]
        elif self.random.random() > 0.2:
            self.boxes[sid, other].append(notification)

    def step(self):
        full = [pair for pair, box in self.boxes.items() if box]
        if not full or self.random.random() < 0.15:
            sid = self.random.randrange(len(self.ballots))
            if sid not in self.winners and self.ballots[sid].timed_out():
                self.announce(sid)
            self.note(sid)
            return
        sender, sid = self.random.choice(full)
        notification = self.boxes[sender, sid].pop(0)
        ballot = self.ballots[sid]
        if sid in self.winners:
            if notification.state is LOOKING:
                vote = self.winners[sid]
                answer = Notification(
                    vote.state, vote.leader, vote.zxid, vote.election_epoch, vote.peer_epoch
                )
                self.put(sid, sender, answer)
            return
        if ballot.receive(sender, notification):
            self.announce(sid)
        if (
            notification.state is LOOKING
            and notification.election_epoch < ballot.logical_clock
            and sender != sid
        ):
            vote = ballot.proposal
            self.put(sid, sender, looking(vote.leader, vote.zxid, ballot.logical_clock, vote.peer_epoch))
        ballot.settle()
        self.note(sid)

    def note(self, sid):
        winner = self.ballots[sid].winner
        if winner is not None and sid not in self.winners:
            self.winners[sid] = winner
            self.check(winner)

    def check(self, winner):
        """Who was elected has the best history that any of a quorum has."""
        standing = {sid: (epoch, zxid, sid) for sid, (zxid, epoch) in enumerate(self.standing)}
        assert (winner.peer_epoch, winner.zxid, winner.leader) == standing[winner.leader]
        worse = [sid for sid in standing if standing[sid] <= standing[winner.leader]]
        assert self.members.contains_quorum(worse)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_post_does_they_agree_in_the_end(seed):
    """With words lost, late and repeated: who wins is up to date, and all end with one leader that leads.

    Those that got no quorum to follow them look again, as a leader does that nobody came to.
    """
    post = Post(seed, count=3 + 2 * (seed % 2))
    for _ in range(4000):
        post.step()
        if len(post.winners) == len(post.ballots):
            leaders = {vote.leader for vote in post.winners.values()}
            if len(leaders) == 1 and post.winners[leaders.pop()].state is LEADING:
                return
            astray = [
                sid
                for sid, vote in post.winners.items()
                if post.winners[vote.leader].leader != vote.leader
                or sum(other.leader == vote.leader for other in post.winners.values()) * 2
                <= len(post.ballots)
            ]
            for sid in astray:
                post.begin(sid)
    pytest.fail(f"no leader: {post.winners}")

"""Elections of members over connections: on loopback sockets, and in a simulated network under virtual time."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import pytest
import trio
from sim.disk import SimDisk
from sim.host import SimHost, seeded_run
from sim.network import Network

from pyzkserver.host import Host
from pyzkserver.quorum.ballot import Vote
from pyzkserver.quorum.listening import where_to_listen
from pyzkserver.quorum.members import Address, Member, Members
from pyzkserver.wire.election import Hello, Notification, ServerState
from pyzkserver.wire.framing import FrameReader, frame

from .electing import Elector, bound

LOOKING, FOLLOWING, LEADING, OBSERVING = ServerState
PORT = 3888


def address(sid):
    return f"10.0.0.{sid}"


class Ensemble:
    """Members on simulated machines; ``start`` and ``stop`` are theirs, one by one."""

    def __init__(self, nursery, network, members, **config):
        self.nursery, self.network, self.members, self.config = nursery, network, members, config
        self.electors: dict[int, Elector] = {}
        self.scopes: dict[int, trio.CancelScope] = {}

    async def start(self, sid, **standing):
        machine = self.network.machine(address(sid))
        machine.start()
        host = SimHost(SimDisk(sid), Random(sid), machine=machine)
        standing.setdefault("observer", sid in self.members.observing)
        elector = Elector(sid, self.members, host, **standing, **self.config)
        self.electors[sid] = elector
        scope = self.scopes[sid] = trio.CancelScope()

        async def live(task_status):
            with scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(elector.election.run)
                    task_status.started()
                    await elector.elect()
                    await trio.sleep_forever()

        await self.nursery.start(live)
        return elector

    def kill(self, sid):
        self.scopes[sid].cancel()
        self.network.machine(address(sid)).kill()

    async def until_settled(self, *sids, seconds=30):
        """Wait until these members have a leader."""
        with trio.fail_after(seconds):
            while any(self.electors[sid].state is LOOKING for sid in sids):
                await trio.sleep(0.001)

    def states(self):
        return {sid: elector.state.name for sid, elector in sorted(self.electors.items())}


def simulated(count, scenario: Callable[..., Awaitable[Any]], *, seed=0, observers=(), **config):
    """Runs ``scenario`` with an ensemble that is not started yet."""
    members = Members.of(
        *(
            Member(
                sid, (Address(address(sid), 2888),), (Address(address(sid), PORT),), observer=sid in observers
            )
            for sid in range(1, count + 1)
        )
    )

    async def main():
        async with trio.open_nursery() as nursery:
            ensemble = Ensemble(nursery, Network(Random(seed)), members, **config)
            await scenario(ensemble)
            nursery.cancel_scope.cancel()

    return seeded_run(seed, main)


# --- real sockets -----------------------------------------------------------------------------------------


def test_three_members_elect_the_highest_on_real_sockets():
    """Everybody ends with the same leader, and nobody waits for a vote that cannot come any more."""

    async def main():
        host = Host()
        listeners, members = bound(host, 3)
        electors = {sid: Elector(sid, members, host) for sid in members.all}
        async with trio.open_nursery() as nursery:
            for sid, elector in electors.items():
                await nursery.start(partial(elector.election.run, listeners=[listeners[sid]]))
            async with trio.open_nursery() as electing:
                for elector in electors.values():
                    electing.start_soon(elector.elect)
            nursery.cancel_scope.cancel()
        assert {sid: elector.state for sid, elector in electors.items()} == {
            1: FOLLOWING,
            2: FOLLOWING,
            3: LEADING,
        }
        assert {elector.vote.leader for elector in electors.values()} == {3}

    trio.run(main)


# --- virtual time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_members_agree_whatever_the_order_they_start_in(seed):
    """FLETest: one leader, who knows it, and everybody else follows it."""

    async def scenario(ensemble):
        order = Random(seed).sample(range(1, 6), 5)
        for sid in order:
            await ensemble.start(sid)
            await trio.sleep(Random(seed * sid).choice((0, 0.001, 0.1, 1)))
        await ensemble.until_settled(*order)
        assert sorted(ensemble.states().values()) == ["FOLLOWING"] * 4 + ["LEADING"]
        leaders = {elector.vote.leader for elector in ensemble.electors.values()}
        assert len(leaders) == 1
        assert ensemble.electors[leaders.pop()].state is LEADING

    simulated(5, scenario, seed=seed)


def test_all_present_no_moment_is_waited():
    """Three that start together have a leader in a few milliseconds, not after finalizeWait."""

    async def scenario(ensemble):
        for sid in (1, 2, 3):
            await ensemble.start(sid)
        started = trio.current_time()
        await ensemble.until_settled(1, 2, 3)
        assert trio.current_time() - started < 0.05
        assert ensemble.states() == {1: "FOLLOWING", 2: "FOLLOWING", 3: "LEADING"}

    simulated(3, scenario)


def test_a_leader_that_died_is_replaced_at_once():
    """FLERestartTest, in short: its machine refuses connections, so its vote is not waited for."""

    async def scenario(ensemble):
        for sid in (1, 2, 3):
            await ensemble.start(sid)
        await ensemble.until_settled(1, 2, 3)
        ensemble.kill(3)
        started = trio.current_time()
        for sid in (1, 2):
            ensemble.nursery.start_soon(ensemble.electors[sid].elect)
        await trio.sleep(0)
        await ensemble.until_settled(1, 2)
        assert trio.current_time() - started < 0.1
        assert ensemble.electors[1].vote.leader == ensemble.electors[2].vote.leader == 2
        await ensemble.start(3, zxid=99)
        await ensemble.until_settled(3)
        assert ensemble.electors[3].vote.leader == 2

    simulated(3, scenario)


def test_without_a_word_from_the_third_the_quorum_waits_a_moment():
    """A member that may be there, and does not answer, is given finalizeWait."""

    async def scenario(ensemble):
        for sid in (1, 2, 3):
            ensemble.network.machine(address(sid))
        ensemble.network.isolate(address(3))
        await ensemble.start(1)
        started = trio.current_time()
        await ensemble.start(2)
        await ensemble.until_settled(1, 2)
        assert 0.2 <= trio.current_time() - started < 0.25

    simulated(3, scenario)


@pytest.mark.parametrize("seed", range(5))
def test_a_minority_finds_nobody_until_the_network_is_whole(seed):
    async def scenario(ensemble):
        network = ensemble.network
        for sid in (1, 2, 3, 4, 5):
            network.machine(address(sid))
        network.partition([address(1), address(5)], [address(2), address(3), address(4)])
        for sid in (1, 2, 3, 4, 5):
            await ensemble.start(sid)
        await ensemble.until_settled(2, 3, 4)
        await trio.sleep(20)
        assert [ensemble.electors[sid].state for sid in (1, 5)] == [LOOKING, LOOKING]
        network.heal()
        await ensemble.until_settled(1, 5, seconds=90)
        assert {elector.vote.leader for elector in ensemble.electors.values()} == {4}

    simulated(5, scenario, seed=seed)


def test_the_latest_history_wins_and_the_epoch_before_it():
    async def scenario(ensemble):
        await ensemble.start(1, zxid=0x200000001, epoch=2)
        await ensemble.start(2, zxid=0x100000009, epoch=1)
        await ensemble.start(3, zxid=0x200000000, epoch=2)
        await ensemble.until_settled(1, 2, 3)
        assert ensemble.electors[1].state is LEADING
        assert ensemble.electors[1].election.leading_tracker.acks == [{1, 2, 3}]
        assert ensemble.electors[2].vote == Vote(1, 0x200000001, 1, 2, FOLLOWING)

    simulated(3, scenario)


def test_an_observer_finds_who_leads_and_is_never_elected():
    async def scenario(ensemble):
        for sid in (4, 1, 2, 3):
            await ensemble.start(sid, zxid=sid)
            await trio.sleep(0.3)
        await ensemble.until_settled(1, 2, 3, 4)
        assert ensemble.states()[4] == "OBSERVING"
        assert ensemble.electors[4].vote.leader in (2, 3)

    simulated(4, scenario, observers=(4,))


def test_a_member_that_has_a_leader_tells_those_that_look():
    """And its leader hears who looks (Leader.reportLookingSid)."""

    async def scenario(ensemble):
        for sid in (1, 2, 3):
            await ensemble.start(sid)
        await ensemble.until_settled(1, 2, 3)
        for elector in ensemble.electors.values():  # as updateElectionVote does, once the epoch is settled
            elector.vote = replace(elector.vote, peer_epoch=1)
            elector.looking_sids.clear()
        await ensemble.electors[1].elect()
        assert ensemble.electors[1].vote.leader == 3
        assert {*ensemble.electors[2].looking_sids, *ensemble.electors[3].looking_sids} == {1}

    simulated(3, scenario)


def test_someone_in_no_configuration_is_answered():
    """A server about to join asks; it counts for nothing itself."""

    async def scenario(ensemble):
        for sid in (1, 2, 3):
            await ensemble.start(sid)
        await ensemble.until_settled(1, 2, 3)
        known = ensemble.members
        own = Member(9, (Address(address(9), 2888),), (Address(address(9), PORT),))
        ensemble.members = Members.of(*known.all.values(), replace(own, observer=True))
        await ensemble.start(9)
        await ensemble.until_settled(9)
        assert (ensemble.states()[9], ensemble.electors[9].vote.leader) == ("OBSERVING", 3)

    simulated(3, scenario)


def test_a_newer_configuration_is_adopted_by_those_that_look():
    """processReconfig: 3 was away during a reconfiguration that took it out and brought 4."""

    async def scenario(ensemble):
        old = ensemble.members
        newer = Members.of(*(old[sid] for sid in (1, 2, 4)), version=0x100000001)
        ensemble.members = newer
        for sid in (1, 2, 4):
            await ensemble.start(sid)
        await ensemble.until_settled(1, 2, 4)
        ensemble.members = Members.of(*(old[sid] for sid in (1, 2, 3)))
        await ensemble.start(3, zxid=77, observer=True)
        await ensemble.until_settled(3)
        late = ensemble.electors[3]
        assert [members.version for members in late.adopted] == [0x100000001]
        assert late.members.text == newer.text
        assert (late.state, late.vote.leader) == (OBSERVING, 4)
        assert ensemble.electors[1].adopted == []

    simulated(4, scenario)


@pytest.mark.parametrize("text", ["my very invalid config string", "server.1=a\nversion=9", ""])
def test_a_configuration_that_cannot_be_read_is_complained_about_and_the_vote_counts(text, caplog):
    """FLEMalformedNotificationMessageTest, testNotificationMessageWithInvalidConfig."""

    async def scenario(ensemble):
        one = await ensemble.start(1)
        machine = ensemble.network.machine(address(2))
        stream = await machine.connect(address(1), PORT)
        await stream.send_all(Hello(2, ((address(2), PORT),)).encode())
        for _ in range(3):
            await stream.send_all(frame(Notification(LOOKING, 2, 5, 1, 0, text).encode()))
        await ensemble.until_settled(1)
        assert one.vote.leader == 2

    with caplog.at_level(logging.WARNING):
        simulated(3, scenario)
    assert len(caplog.records) == (text != "")


@pytest.mark.parametrize(
    "message", [b"x" * 12, b"x" * 30, Notification(LOOKING, 1, 0, 1, 0, "c").encode()[:-1]]
)
def test_a_malformed_notification_costs_its_connection(message, caplog):
    """FLEMalformedNotificationMessageTest; whoever sent it may come back with a better one."""

    async def scenario(ensemble):
        one = await ensemble.start(1)
        machine = ensemble.network.machine(address(2))
        for words in (message, message, Notification(LOOKING, 2, 5, 1, 0).encode()):
            stream = await machine.connect(address(1), PORT)
            await stream.send_all(Hello(2, ((address(2), PORT),)).encode() + frame(words))
            await trio.sleep(1)
        await ensemble.until_settled(1)
        assert one.vote.leader == 2

    with caplog.at_level(logging.WARNING):
        simulated(3, scenario)
    assert len(caplog.records) == 1


def test_lost_words_are_said_again_ever_more_rarely():
    """Alone, a member says hello and its vote, and the vote again after 0.2, 0.6, 1.4 … seconds."""

    async def scenario(ensemble):
        heard = []
        machine = ensemble.network.machine(address(2))
        listener = machine.listen(PORT, 5)
        await ensemble.start(3)
        with trio.move_on_after(100):
            stream = await listener.accept()
            while await stream.receive_some():
                heard.append(round(trio.current_time(), 1))
        assert heard == [0.0, 0.0, 0.2, 0.6, 1.4, 3.0, 6.2, 12.6, 25.4, 51.0]

    simulated(3, scenario)


def test_an_address_in_use_is_tried_again_and_then_refused(caplog):
    """electionPortBindRetry: three attempts, a second apart."""

    async def scenario(ensemble):
        machine = ensemble.network.machine(address(1))
        blocker = machine.listen(PORT, 5)
        started = trio.current_time()
        with pytest.RaisesGroup(OSError, flatten_subgroups=True, allow_unwrapped=True):
            await ensemble.start(1)
        assert trio.current_time() - started == 2
        assert len(caplog.records) == 3
        await blocker.aclose()

    with caplog.at_level(logging.WARNING):
        simulated(3, scenario)


def test_one_of_several_addresses_is_enough(caplog):
    """QuorumCnxManager.Listener: each is tried by itself.  The member takes part meanwhile."""

    async def scenario(ensemble):
        two = (Address(address(1), 4000), Address(address(1), PORT))
        own = replace(ensemble.members[1], quorum_addresses=two, election_addresses=two)
        ensemble.members = Members.of(own, ensemble.members[2], ensemble.members[3])
        machine = ensemble.network.machine(address(1))
        blocker = machine.listen(4000, 5)
        started = trio.current_time()
        await ensemble.start(1)
        assert trio.current_time() == started
        await ensemble.start(2)
        await ensemble.until_settled(1, 2)
        await blocker.aclose()
        await trio.sleep(1)
        assert set(machine.listeners) == {4000, PORT}

    with caplog.at_level(logging.WARNING):
        simulated(3, scenario)
    [said] = [record.getMessage() for record in caplog.records]
    assert f"cannot listen for elections on {address(1)}:4000" in said


def test_an_address_that_is_never_had_is_given_up(caplog):
    async def scenario(ensemble):
        two = (Address(address(1), PORT), Address(address(1), 4000))
        own = replace(ensemble.members[1], quorum_addresses=two, election_addresses=two)
        ensemble.members = Members.of(own, ensemble.members[2], ensemble.members[3])
        ensemble.network.machine(address(1)).listen(4000, 5)
        for sid in (1, 2):
            await ensemble.start(sid)
        await ensemble.until_settled(1, 2)
        await trio.sleep(10)

    with caplog.at_level(logging.WARNING):
        simulated(3, scenario)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ([("a", 1), ("b", 2)], [("0.0.0.0", 1), ("0.0.0.0", 2)]),
        ([("a", 1), ("b", 1)], [("0.0.0.0", 1)]),
        ([("a", 1), ("fe80::1", 1)], [("::", 1)]),
        ([("fe80::1", 1), ("a", 1), ("b", 2)], [("::", 1), ("0.0.0.0", 2)]),
    ],
)
def test_quorum_listen_on_all_ips_takes_each_port_once(addresses, expected):
    """MultipleAddresses.getWildcardAddresses."""
    given = [Address(*each) for each in addresses]
    assert where_to_listen(given, everywhere=True) == expected
    assert where_to_listen(given, everywhere=False) == given


def test_who_looks_in_an_earlier_round_is_told_at_once():
    """It need not wait until it is asked again: the answer has the round to catch up with."""

    async def scenario(ensemble):
        one = await ensemble.start(1)
        one.election._ballot.logical_clock = 7
        machine = ensemble.network.machine(address(2))
        stream = await machine.connect(address(1), PORT)
        words = Notification(LOOKING, 2, 0, 3, 0).encode()
        await stream.send_all(Hello(2, ((address(2), PORT),)).encode() + frame(words))
        answers = FrameReader()
        rounds = []
        with trio.move_on_after(0.1):
            while True:
                answers.feed(await stream.receive_some())
                while (message := answers.next_frame()) is not None:
                    rounds.append(Notification.decode(message).election_epoch)
        assert rounds[-1] == 7

    simulated(3, scenario)


def test_who_does_not_vote_is_answered_by_those_that_look_as_well():
    """It learns their configuration, and that they have no leader (WorkerReceiver, "respond right away")."""

    async def scenario(ensemble):
        await ensemble.start(1)
        stream = await ensemble.network.machine(address(9)).connect(address(1), PORT)
        words = Notification(LOOKING, -(2**63), 0, 1, 0).encode()
        await stream.send_all(Hello(9, ((address(9), PORT),)).encode() + frame(words))
        answers = FrameReader()
        with trio.fail_after(1):
            while (message := answers.next_frame()) is None:
                answers.feed(await stream.receive_some())
        answer = Notification.decode(message)
        assert (answer.state, answer.leader, answer.config) == (LOOKING, 1, ensemble.members.text)

    simulated(3, scenario)


def test_a_member_moves_to_another_address_while_it_lives():
    """restartLeaderElection: the old one is given up, connections stay."""

    async def scenario(ensemble):
        for sid in (1, 2, 3):
            await ensemble.start(sid)
        await ensemble.until_settled(1, 2, 3)
        two, machine = ensemble.electors[2], ensemble.network.machine(address(2))
        moved = replace(ensemble.members[2], election_addresses=(Address(address(2), 3999),))
        members = Members.of(ensemble.members[1], moved, ensemble.members[3], version=5)
        for elector in ensemble.electors.values():
            elector.members = members
            elector.election.members_changed()
        await trio.sleep(0.1)
        assert set(machine.listeners) == {3999}
        assert two.election.statistics()["connected"] == [1, 3]
        ensemble.members = members
        ensemble.kill(3)
        await ensemble.start(3)
        await ensemble.until_settled(3)
        assert ensemble.electors[3].election.statistics()["connected"] == [1, 2]

    simulated(3, scenario)


def test_statistics_say_where_an_election_is():
    async def scenario(ensemble):
        two = await ensemble.start(2, zxid=5, epoch=1)
        await trio.sleep(1)
        assert two.election.statistics() == {
            "round": 1,
            "looking": True,
            "proposal": {"leader": 2, "zxid": 5, "epoch": 1},
            "connected": [],
            "refusing": [],
            "unsent": [1, 3],
            "without_hello": 0,
        }

    simulated(3, scenario)

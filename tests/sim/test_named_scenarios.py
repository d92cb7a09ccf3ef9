"""What has gone wrong in systems like this one, told one by one.

The random worlds of ``test_ensembles.py`` meet most of it now and then; here each is met for sure.
"""

from random import Random
from typing import Any

import pytest
import trio
from serving.talk import CLOSE, PING, children, create, delete, exists, set_data, sync

from pyzkserver.errors import ErrorCode
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.snapshots import write_snapshot
from pyzkserver.wire.requests import CreateRequest

from .disk import SimDisk
from .invariants import VERSION_2
from .member import SimMember
from .network import Weather
from .stage import TICK, Asker, Stage, play

# --- leaders that end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("busy", [False, True])
def test_what_a_lonely_leader_proposed_is_taken_back(busy: bool) -> None:
    """Cut off, it goes on proposing for a moment, and answers nobody; the others elect another one.

    When it is back it is told to cut that off; or, where the others have written something in a later epoch, it
    gets their tree.
    """

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        asker = await stage.asker(leader)
        await asker.do(create("/a", b"1"))
        snapshots = len(stage.said("SNAP"))
        stage.cut_off(leader)
        await asker.send(set_data("/a", b"lonely"), create("/lonely"))
        with pytest.raises(Asker.Gone):
            await asker.hear(1)
        others = stage.others(leader)
        second = await stage.formed(*(each.sid for each in others))
        if busy:
            another = await stage.asker(second)
            await another.do(set_data("/a", b"2"))
        await stage.settled()
        for member in stage.members:
            assert stage.data(member, "/a") == (b"2" if busy else b"1")
            assert stage.data(member, "/lonely") is None
        assert len(stage.said("SNAP")) - snapshots == busy
        assert bool(stage.said("TRUNC")) is not busy

    play(story)


def test_what_a_quorum_holds_survives_the_leader() -> None:
    """All followers have it on their disks, the leader dies before it hears of that: nobody was answered, and yet
    it may not be lost, for their acknowledgements may have been on their way."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        asker = await stage.asker(leader)
        await asker.do(create("/a", b"1"))
        for other in stage.others(leader):
            stage.network.block(other.address, leader.address)
        await asker.send(set_data("/a", b"2"))
        await trio.sleep(0.1)
        leader.crash()
        stage.heal()
        await stage.formed(*(each.sid for each in stage.others(leader)))
        await stage.settled()
        assert {stage.data(member, "/a") for member in stage.members} == {b"2"}

    play(story)


def test_leaders_that_die_one_after_the_other() -> None:
    """Five members, four times: what was acknowledged by each of them is there in the end."""

    async def story(stage: Stage) -> None:
        for round_ in range(4):
            leader = await stage.formed()
            asker = await stage.asker(leader)
            await asker.do(create(f"/{round_}", b"x"))
            leader.crash()
            await stage.formed(*(each.sid for each in stage.others(leader)))
            stage.begin(leader.sid)
        await stage.settled()
        for member in stage.members:
            assert member.tree is not None
            assert {"/0", "/1", "/2", "/3"} <= member.tree.nodes.keys()

    play(story, voters=5)


def test_a_leader_that_hears_nobody_gives_up() -> None:
    """What it sends arrives, and as long as its votes do the others elect it once more: it is the best.  When its
    connections have died it is silent, and they elect another one."""

    async def story(stage: Stage) -> None:
        stage.network.patience = 2.0
        leader = await stage.formed()
        for other in stage.others(leader):
            stage.network.block(other.address, leader.address)
        await stage.until(lambda: leader.tree is None, 10 * TICK)
        await stage.formed(*(each.sid for each in stage.others(leader)))
        await stage.settled()

    play(story)


def test_a_follower_that_hears_nothing_leaves_and_the_others_go_on() -> None:
    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        deaf, well = stage.others(leader)
        stage.network.block(leader.address, deaf.address)
        asker = await stage.asker(well)
        await stage.until(lambda: deaf.tree is None, 10 * TICK)
        await asker.do(create("/a"))
        assert leader.tree is not None
        await stage.settled()

    play(story)


def test_a_connection_that_was_forgotten_between_them() -> None:
    """Half open: neither end is told.  Both find out within syncLimit, and the follower comes again."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        follower = stage.others(leader)[0]
        stage.network.lose_between(leader.address, follower.address)
        await stage.until(lambda: follower.tree is None, 10 * TICK)
        await stage.settled()
        assert leader.process is not None
        assert leader.process.leads, "the other follower was enough"

    play(story)


# --- disks --------------------------------------------------------------------------------------------------


def test_all_lose_their_power_at_once() -> None:
    """In the middle of writing; what was answered is there when they are back."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        asker = await stage.asker(leader)
        done = 0
        with trio.move_on_after(0.0553):
            while True:
                await asker.do(create(f"/{done}"))
                done += 1
        for member in stage.members:
            member.crash()
        assert done > 5
        await stage.settled()
        for member in stage.members:
            assert member.tree is not None
            assert {f"/{number}" for number in range(done)} <= member.tree.nodes.keys()

    play(story)


@pytest.mark.parametrize("call", range(1, 12))
def test_the_power_fails_at_any_call_of_a_follower(call: int) -> None:
    """While it writes its log; the others do not wait for it, and it is brought up to date."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        unlucky, well = stage.others(leader)
        asker = await stage.asker(well)
        unlucky.disk.power_off_at(call)
        await asker.do(*(create(f"/{number}") for number in range(10)))
        await stage.settled()

    play(story)


def test_the_leaders_disk_hangs_and_the_others_are_a_quorum() -> None:
    """A leader is one voice of all: what the others hold is decided."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        asker = await stage.asker(leader)
        leader.host.flusher.hold()
        await asker.do(create("/a"), create("/b"))
        leader.host.flusher.release()
        await stage.settled()

    play(story)


def test_a_full_disk_ends_a_member_and_no_other() -> None:
    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        full, well = stage.others(leader)
        asker = await stage.asker(well)
        full.disk.fail_at(1, 28)
        await asker.do(create("/a"))
        assert stage.said(f"m{full.sid} gives up")
        await asker.do(create("/b"))
        await stage.settled()

    play(story)


@pytest.mark.parametrize("call", range(1, 9))
def test_a_disk_that_is_full_before_its_member_is_synchronized(call: int) -> None:
    """It fails while more packets are still to come: NEWLEADER finds a log that takes nothing any more.

    (Found by the seeds: the member waited for a flush that nobody was going to do, for ever.)
    """

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        late, well = stage.others(leader)
        asker = await stage.asker(well)
        await asker.do(create("/a"))
        late.stop()
        await asker.do(*(set_data("/a", b"%1500d" % number) for number in range(50)))
        stage.network.buffer = 4000
        stage.begin(late.sid)
        await stage.until(lambda: len(stage.said(f"m{leader.sid} → m{late.sid}  DIFF")) == 2)
        late.disk.fail_at(call, 28)
        await stage.until(lambda: stage.said(f"m{late.sid} gives up"))
        await stage.settled()
        assert stage.data(late, "/a") == b"%1500d" % 49

    play(story)


# --- members that come late ---------------------------------------------------------------------------------


def absent_for(writes: int, **config: Any) -> Stage:
    """A follower is stopped, so much is written, and it comes back."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        asker = await stage.asker(leader)
        await asker.do(create("/a"))
        late = stage.others(leader)[0]
        late.stop()
        await asker.do(*(set_data("/a", b"%d" % number) for number in range(writes)))
        stage.begin(late.sid)
        await stage.settled()
        assert stage.data(late, "/a") == b"%d" % (writes - 1)

    return play(story, **config)


def test_who_lacks_little_gets_that() -> None:
    assert absent_for(5).came_back_with("DIFF")


def test_who_lacks_more_than_is_kept_gets_it_from_the_log() -> None:
    assert absent_for(30, commit_log_count=4, snapshot_size_factor=0.0).came_back_with("DIFF")


def test_who_lacks_more_than_may_be_read_gets_the_tree() -> None:
    assert absent_for(30, commit_log_count=4, snapshot_size_factor=-1.0).came_back_with("SNAP")


@pytest.mark.parametrize("how", ["DIFF", "SNAP"])
def test_who_came_late_stays_although_nothing_happens(how: str) -> None:
    """It was synchronized, and nothing was proposed since: it owes no acknowledgement.

    (Found by the seeds: it was sent away after syncLimit, for ever.)
    """

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        asker = await stage.asker(leader)
        late = stage.others(leader)[0]
        late.stop()
        await asker.do(create("/a"), set_data("/a", b"1"))
        stage.begin(late.sid)
        await stage.formed()
        beginnings = len(stage.said("NEWLEADER"))
        asker.hang_up()
        await trio.sleep(3)  # less than the session's time-out, and several syncLimits
        assert len(stage.said("NEWLEADER")) == beginnings
        await stage.settled()

    assert play(story, force_snapshot_sync=how == "SNAP").came_back_with(how)


def test_a_new_disk() -> None:
    """A member whose disk was replaced knows nothing, and becomes like the others."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        asker = await stage.asker(leader)
        await asker.do(create("/a", b"1"))
        new = stage.others(leader)[0]
        new.stop()
        new.disk = SimDisk(7, existing=(VERSION_2.parent.parent,))
        new.prepare_disk()
        await asker.do(set_data("/a", b"2"))
        await stage.settled()
        assert stage.data(new, "/a") == b"2"

    play(story)


async def large_tree(stage: Stage) -> tuple[SimMember, SimMember, Asker]:
    """The leader, a member whose disk was replaced and that is not there, and a client of the third one.

    The tree is many times as large as what is under way on a connection at once.
    """
    leader = await stage.formed()
    new, well = stage.others(leader)
    asker = await stage.asker(well)
    new.stop()
    new.disk = SimDisk(7, existing=(VERSION_2.parent.parent,))
    new.prepare_disk()
    for number in range(100):
        await asker.do(create(f"/{number}", b"x" * 1500), create(f"/{number}/child"))
    stage.network.buffer = 4000
    stage.network.weather(leader.address, new.address, Weather(0.002, 0.002))
    return leader, new, asker


def test_a_tree_that_changes_while_it_is_sent() -> None:
    """What was sent already and what was not is changed, deleted and created meanwhile: in the end it is the same."""

    async def story(stage: Stage) -> None:
        leader, new, asker = await large_tree(stage)
        random = Random(5)
        stage.begin(new.sid)
        while new.tree is None:
            number = random.randrange(100)
            await asker.ask(
                set_data(f"/{number}", b"y%d" % number),
                delete(f"/{number}/child"),
                create(f"/{number}/new{random.randrange(5)}"),
                delete(f"/{random.randrange(100)}/new{random.randrange(5)}"),
            )
        writes_meanwhile = len(stage.said(f"m{leader.sid} → m{new.sid}  PROPOSAL"))
        assert writes_meanwhile > 50
        await stage.settled()
        assert stage.came_back_with("SNAP")

    play(story, commit_log_count=2, snapshot_size_factor=-1.0)


def test_the_leader_dies_while_it_sends_its_tree() -> None:
    """What the learner has of it is worth nothing; it gets another one's."""

    async def story(stage: Stage) -> None:
        leader, new, _ = await large_tree(stage)
        stage.begin(new.sid)
        await stage.until(
            lambda: stage.came_back_with("SNAP") and f"m{new.sid}  SNAP" in stage.said("SNAP")[-1]
        )
        await trio.sleep(0.05)
        assert new.tree is None
        leader.crash()
        await stage.settled()

    play(story, commit_log_count=2, snapshot_size_factor=-1.0)


@pytest.mark.parametrize("call", range(1, 13))
def test_the_power_fails_while_a_tree_is_taken_over(call: int) -> None:
    """At any call to the disk: there is what was there before, or the leader's tree."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        asker = await stage.asker(leader)
        late = stage.others(leader)[0]
        await asker.do(create("/a"))
        late.stop()
        await asker.do(*(set_data("/a", b"%d" % number) for number in range(10)))
        late.start(stage.nursery)
        await stage.until(lambda: late.process is not None and late.process.peer is not None)
        late.disk.power_off_at(call)
        await stage.settled()

    play(story, force_snapshot_sync=True)


def test_they_come_one_at_a_time() -> None:
    """Two of three are enough, and the third one joins whoever leads."""

    async def story(stage: Stage) -> None:
        stage.begin(1)
        await trio.sleep(5)
        stage.begin(2)
        leader = await stage.formed(1, 2)
        asker = await stage.asker(stage[1])
        await asker.do(create("/a"))
        await trio.sleep(5)
        stage.begin(3)
        assert await stage.formed() is leader, "a late one does not depose anybody"

    play(story, start=False)


# --- who counts ---------------------------------------------------------------------------------------------


def test_an_observer_is_no_voice() -> None:
    """With one of three voters and two observers nothing is decided."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        voters = [each for each in stage.others(leader) if each.voting]
        asker = await stage.asker(leader)
        await asker.do(create("/a"))
        for voter in voters:
            voter.kill()
        with pytest.raises(Asker.Gone):
            await asker.ask(create("/b"))
        # An observer hears of it a moment after the leader has stopped serving.
        await stage.until(lambda: leader.tree is None and stage[4].tree is None)
        await stage.settled()

    play(story, voters=3, observers=2)


def test_an_observer_that_is_cut_off_holds_up_nobody() -> None:
    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        stage.cut_off(stage[4])
        asker = await stage.asker(leader)
        await asker.do(*(create(f"/{number}") for number in range(20)))
        await stage.settled()
        assert stage.data(stage[4], "/19") == b""

    play(story, voters=3, observers=1)


def test_an_observer_that_looks_keeps_no_voter_talking() -> None:
    """A voter that looks answers whatever an observer says; one that is in a later round says nothing to that.

    (Found by the seeds: the two of them exchanged votes as fast as the network was.)
    """

    async def story(stage: Stage) -> None:
        stage.begin(1, 2, 4)
        await stage.formed(1, 2, 4)
        stage[2].kill()
        await stage.until(lambda: stage[1].tree is None and stage[4].tree is None)
        stage[1].kill()
        stage.begin(1)
        await trio.sleep(1)
        before = len(stage.said("m4 → m1  looking"))
        await trio.sleep(5)
        assert len(stage.said("m4 → m1  looking")) - before < 20
        await stage.settled()

    play(story, voters=3, observers=1, start=False)


# --- sessions -----------------------------------------------------------------------------------------------


def ephemeral(path: str) -> tuple[int, CreateRequest]:
    op, request = create(path)
    assert isinstance(request, CreateRequest)
    return op, CreateRequest(request.path, request.data, request.acl, 1)


def test_a_session_moves_with_what_is_its_own() -> None:
    """Its member dies; at another one it goes on, and its ephemeral node was never gone."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        first, second = stage.others(leader)
        asker = await stage.asker(first)
        await asker.do(ephemeral("/mine"))
        first.kill()
        assert await asker.connect(second)
        (found,) = await asker.ask(exists("/mine"))
        assert found.err == 0
        await asker.do(create("/more"))
        await stage.settled()

    play(story)


def test_an_upgrade_that_nobody_decided() -> None:
    """A local session asks for an ephemeral node, its member tells a leader that is gone, and is elected: no
    transaction tells of that session, so nobody knows it.

    (Found by the seeds: its member did, and let it create nodes whose owner no other member knew.)
    """

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        other, second = sorted(stage.others(leader), key=lambda member: member.sid)
        asker = await stage.asker(second)
        stage.network.block(second.address, leader.address)
        await asker.send(ephemeral("/mine"))
        await trio.sleep(0.05)
        leader.crash()
        stage.heal()
        assert await stage.formed(other.sid, second.sid) is second
        assert not await asker.connect(other)
        await (await stage.asker(other)).do(create("/a"))
        await stage.settled()

    play(story, local_sessions_enabled=True, local_sessions_upgrading_enabled=True)


def test_a_session_outlives_its_leader_and_ends_in_time() -> None:
    """A new leader gives all sessions their whole time-out once more; then those end of whom nothing is heard."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        follower = stage.others(leader)[0]
        asker = await stage.asker(follower, 1000)
        await asker.do(ephemeral("/mine"))
        asker.hang_up()
        leader.crash()
        second = await stage.formed(*(each.sid for each in stage.others(leader)))
        formed_at = trio.current_time()
        await trio.sleep(0.8)
        assert stage.data(second, "/mine") is not None
        await stage.until(lambda: stage.data(second, "/mine") is None)
        assert trio.current_time() - formed_at < 1.5
        assert not await asker.connect(second)
        await stage.settled()

    play(story)


def test_a_client_that_only_pings_keeps_its_session() -> None:
    """Its member tells the leader, who decides whose time is up."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        askers = [await stage.asker(member, 1000) for member in stage.members]
        await askers[0].do(ephemeral("/mine"))
        for _ in range(20):
            await trio.sleep(0.4)
            for asker in askers:
                await asker.send(PING)
        for asker in askers:
            await asker.hear(20)
        await stage.settled()
        assert stage.data(leader, "/mine") == b""
        assert not stage.said("close_session")

    play(story)


def test_two_connections_of_one_session() -> None:
    """A client that came to another member; what it still asks of the first one is not done."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        first, second = stage.others(leader)
        asker = await stage.asker(first)
        await asker.do(create("/a"))
        twin = Asker(stage, 50)
        twin.session_id, twin.password = asker.session_id, asker.password
        assert await twin.connect(second)
        await twin.do(set_data("/a", b"twin"))
        try:
            (reply,) = await asker.ask(set_data("/a", b"old"))
        except Asker.Gone:
            pass
        else:
            assert reply.err == ErrorCode.SESSION_MOVED
        await stage.settled()
        assert stage.data(first, "/a") == b"twin"

    play(story)


def test_a_client_is_not_taken_back_in_time() -> None:
    """A member that lags behind sends away who has seen more."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        behind, well = stage.others(leader)
        asker = await stage.asker(well)
        stage.network.block(leader.address, behind.address)
        await asker.do(create("/a"))
        with pytest.raises(Asker.Gone):
            await asker.connect(behind)
        await stage.settled()
        assert await asker.connect(behind)

    play(story)


# --- order --------------------------------------------------------------------------------------------------


def test_a_sync_between_two_writes_that_are_decided_at_once() -> None:
    """A learner's client gets its answers in the order of its questions, however they were decided.

    (Found by the seeds: the leader committed both writes before it answered the sync.)
    """

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        follower = stage.others(leader)[0]
        asker = await stage.asker(follower)
        await asker.do(create("/a"))
        for member in stage.members:
            member.host.flusher.hold()
        await asker.send(set_data("/a", b"1"), sync("/"), set_data("/a", b"2"), children("/"))
        await trio.sleep(0.1)
        for member in stage.members:
            member.host.flusher.release()
        replies = await asker.hear(4)
        assert [reply.err for reply in replies] == [0, 0, 0, 0]
        await stage.settled()

    play(story)


def test_a_sync_sees_what_was_answered_elsewhere() -> None:
    """A member that is slow to hear of a commit shows it to who asks for a sync first."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        slow, well = stage.others(leader)
        writer, reader = await stage.asker(well), await stage.asker(slow)
        for number in range(20):
            await writer.do(create(f"/{number}"))
            _, found = await reader.ask(sync("/"), exists(f"/{number}"))
            assert found.err == 0
            await writer.do(delete(f"/{number}"))
        await stage.settled()

    play(story)


# --- numbers that end ---------------------------------------------------------------------------------------


def test_the_zxids_of_an_epoch_are_used_up() -> None:
    """A counter of 32 bits: the leader steps down before it runs over, and the next epoch begins."""

    async def story(stage: Stage) -> None:
        for member in stage.members:
            member.disk.make_directory(VERSION_2)
            tree = DataTree(extended_types=True)
            tree.last_zxid = 0x1_FFFF_FFF0
            write_snapshot(member.disk, VERSION_2, tree, {}, "")
        stage.begin(1, 2, 3)
        await stage.formed()
        # The members recovered epoch 1, so the first leader begins epoch 2; let it be nearly over, too.
        leader = await stage.formed()
        assert leader.process is not None
        assert leader.process.peer is not None
        assert leader.process.peer.leader is not None
        leading = leader.process.peer.leader.leading
        skip_to = leading.replica.last_proposed | 0xFFFF_FFF0
        leading.replica.last_proposed = leading.proposals.proposed = leading.proposals.committed = skip_to
        leading.proposals._stretches[0].first = skip_to + 1
        created = set[str]()
        for number in range(40):
            member = stage[number % 3 + 1]
            try:
                asker = await stage.asker(member)
                await asker.do(create(f"/{number}"))
                created.add(f"/{number}")
                asker.hang_up()
            except Asker.Gone:
                await stage.formed()
        leader = await stage.settled()
        assert leader.tree is not None
        assert leader.tree.last_zxid >> 32 > skip_to >> 32
        assert len(created) > 30
        assert created <= leader.tree.nodes.keys()

    play(story, start=False)


def test_clocks_that_are_hours_apart() -> None:
    """Nothing is decided by what time it is."""

    async def story(stage: Stage) -> None:
        for member, skew in zip(stage.members, (-7200, 0, 7200), strict=True):
            member.skew = skew
        stage.begin(1, 2, 3)
        leader = await stage.formed()
        asker = await stage.asker(stage.others(leader)[0], 1000)
        await asker.do(ephemeral("/mine"))
        leader.crash()
        second = await stage.formed(*(each.sid for each in stage.others(leader)))
        assert stage.data(second, "/mine") is not None
        await stage.settled()

    play(story, start=False)


def test_a_clock_that_is_set_back_brings_no_sessions_id_back() -> None:
    """Neither in a member's next role nor in its next life, though the sessions have ended: whoever has the id of
    one has its password, and would be given somebody else's session."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        member = stage.others(leader)[0]
        ids = []

        async def another_session() -> None:
            asker = await stage.asker(member)
            await asker.do(CLOSE)
            ids.append(asker.session_id)

        await another_session()
        member.host.wall_clock_skew = -3600.0
        leader.kill()
        await stage.formed(*(each.sid for each in stage.others(leader)))
        await another_session()
        stage.begin(leader.sid)
        await stage.settled()
        member.kill()
        member.skew = -7200.0
        stage.begin(member.sid)
        await stage.formed()
        await another_session()
        assert ids == sorted(set(ids))

    play(story)


# --- epochs -------------------------------------------------------------------------------------------------


def test_a_leader_whom_nobody_accepted_is_no_better_for_it() -> None:
    """Twice it has chosen an epoch, and all die before one has accepted that.  The others go on in an earlier one.
    What counts in an election is the epoch of the last history that was taken over, and not that."""

    async def story(stage: Stage) -> None:
        third = await stage.formed()
        assert third.sid == 3
        asker = await stage.asker(third)
        await asker.do(create("/a"))
        await stage.until(stage._alike)
        for member in stage.members:
            member.crash()
        for epoch in (2, 3):
            stage.begin(2, 3)
            while not stage.said(f"m3 → m2  LEADERINFO 0x{epoch}00000000"):
                await trio.sleep(0.0001)
            stage[2].crash()
            third.crash()
        stage.begin(1, 2)
        leader = await stage.formed(1, 2)
        assert leader.process is not None
        assert leader.process.epoch == 2
        asker = await stage.asker(leader)
        await asker.do(create("/b"))
        await stage.until(lambda: stage.data(stage[1], "/b") is not None)
        stage[2].crash()
        stage.begin(3)
        assert await stage.formed(1, 3) is stage[1]
        await stage.settled()

    play(story)


def test_a_later_epoch_outweighs_a_longer_log() -> None:
    """Nothing was written in it yet; and still it began without what a lonely leader of the epoch before has."""

    async def story(stage: Stage) -> None:
        lonely = await stage.formed()
        asker = await stage.asker(lonely)
        await asker.do(create("/a"))
        await stage.until(stage._alike)
        stage.cut_off(lonely)
        await asker.send(create("/lonely"))
        leader = await stage.formed(*(each.sid for each in stage.others(lonely)))
        (other,) = (each for each in stage.others(leader) if each is not lonely)
        leader.crash()
        stage.heal()
        assert await stage.formed(lonely.sid, other.sid) is other
        await stage.settled()
        assert {stage.data(member, "/lonely") for member in stage.members} == {None}

    play(story)


# --- acknowledgements ---------------------------------------------------------------------------------------


def test_an_acknowledgement_ends_with_its_connection() -> None:
    """A follower holds what the leader's own disk does not yet, comes back, is told to cut that off, and dies before
    it gets it once more.  So the leader is alone with it, and nothing is decided before another one has it."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        follower, slow = stage.others(leader)
        asker = await stage.asker(leader)
        await asker.do(create("/a"))
        await stage.until(stage._alike)
        slow.host.flusher.hold()
        leader.host.flusher.hold()
        await asker.send(create("/b"))
        await stage.until(lambda: stage.said(f"m{follower.sid} → m{leader.sid}  ACK 0x100000003"))
        follower.crash()
        follower.start(stage.nursery)
        while not stage.said("TRUNC"):
            await trio.sleep(0.001)
        follower.crash()
        leader.host.flusher.release()
        await trio.sleep(0.05)
        assert stage.data(leader, "/b") is None
        slow.host.flusher.release()
        assert (await asker.hear(1))[0].err == 0
        await stage.settled()

    play(story)

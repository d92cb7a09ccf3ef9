"""Observers behind followers (observerMasterPort), told one by one, with all that is watched in every world."""

import pytest
import trio
from serving.talk import create, delete, exists, get, set_data, sync

from pyzkserver.quorum.learner import Learner
from pyzkserver.quorum.observer_master import ObserverMaster
from pyzkserver.quorum.relaying import Relaying

from .addresses import OBSERVER_MASTER_PORT
from .ensemble import Failed, live
from .member import SimMember
from .network import Weather
from .stage import Asker, Stage, play

SHAPE = {"voters": 3, "observers": 1, "observer_master_port": OBSERVER_MASTER_PORT}


def master_of(stage: Stage, observer: SimMember) -> SimMember | None:
    """Who tells this observer what is decided."""
    for member in stage.members:
        peer = member.process.peer if member.process is not None else None
        if peer is not None and any(each.sid == observer.sid and each.in_broadcast for each in peer.handlers):
            return member
    return None


async def mastered(stage: Stage, *not_these: SimMember) -> SimMember:
    """Wait until the observer, member 4, has a master that is none of these."""
    await stage.until(lambda: master_of(stage, stage[4]) not in (None, *not_these))
    master = master_of(stage, stage[4])
    assert master is not None
    assert master.process is not None
    assert not master.process.leads
    return master


@pytest.mark.parametrize("how", ["crash", "kill", "cut_off"])
def test_a_master_is_lost(how: str) -> None:
    """Under load, four times: the observer goes to the next one, which may have heard less; nothing is taken back."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        writer = await stage.asker(leader)
        await writer.do(create("/a", b"0"))
        for number in range(1, 5):
            master = await mastered(stage)
            await writer.send(*(set_data("/a", b"%d" % number) for _ in range(10)))
            if how == "cut_off":
                stage.network.partition([master.address], [leader.address, stage[4].address])
            else:
                getattr(master, how)()
            await mastered(stage, master)
            await writer.hear(10)
            reader = await stage.asker(stage[4])
            _, found = await reader.ask(sync("/"), exists("/a"))
            assert found.err == 0
            reader.hang_up()
            stage.heal()
            master.start(stage.nursery)
            await stage.formed()
        await stage.settled()
        assert stage.data(stage[4], "/a") == b"4"
        assert not stage.said("TRUNC")

    play(story, **SHAPE)


def test_a_sync_at_an_observer_sees_what_was_answered_elsewhere() -> None:
    """By way of its master, which is behind the others, and so is the observer."""

    play(syncs_at_the_observer, **SHAPE)


async def syncs_at_the_observer(stage: Stage) -> None:
    leader = await stage.formed()
    master = await mastered(stage)
    well = next(member for member in stage.members[:3] if member not in (leader, master))
    stage.network.weather(leader.address, master.address, Weather(latency=0.02))
    writer, reader = await stage.asker(well), await stage.asker(stage[4])
    for number in range(20):
        await writer.do(create(f"/{number}"))
        _, found = await reader.ask(sync("/"), exists(f"/{number}"))
        assert found.err == 0
        await writer.do(delete(f"/{number}"))
    await stage.settled()


def test_a_session_goes_round() -> None:
    """From the leader to the observer, to its master and back: it goes on, and forward only."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        master = await mastered(stage)
        asker = await stage.asker(leader)
        await asker.do(create("/a", b"0"))
        for number, member in enumerate([stage[4], master, stage[4], leader, master] * 3):
            until = trio.current_time() + 10
            while True:
                try:
                    assert await asker.connect(member)
                    break
                except Asker.Gone:  # it has not heard yet of what this client has seen
                    assert trio.current_time() < until
                    await trio.sleep(0.05)
            await asker.do(set_data("/a", b"%d" % number))
        await stage.settled()

    play(story, **SHAPE)


def test_a_session_lives_by_an_observer() -> None:
    """What is heard of its client goes by the master to the leader; and when no more is heard, it ends."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        await mastered(stage)
        asker = await stage.asker(stage[4], timeout=1000)
        assert leader.tree is not None
        for _ in range(20):
            await trio.sleep(0.3)
            await asker.do(get("/"))
        asker.hang_up()
        assert leader.process is not None
        assert leader.process.service is not None
        sessions = leader.process.service.replica.sessions.by_id
        assert asker.session_id in sessions
        await stage.until(lambda: asker.session_id not in sessions, 3)

    play(story, **SHAPE, leader_serves=True)


def test_the_leader_is_lost() -> None:
    """Masters and observers alike look for the next one; the observer's epoch goes with theirs."""

    async def story(stage: Stage) -> None:
        for number in range(4):
            leader = await stage.formed()
            # By a follower again; or by the leader, where none of them served it in time.
            await stage.until(lambda: master_of(stage, stage[4]) is not None)
            writer = await stage.asker(stage[4])
            await writer.do(create(f"/{number}"))
            leader.crash()
            await stage.formed(*(each.sid for each in stage.others(leader)))
            leader.start(stage.nursery)
        await stage.settled()
        assert all(stage.data(stage[4], f"/{number}") == b"" for number in range(4))

    play(story, **SHAPE)


# --- broken on purpose --------------------------------------------------------------------------------------


def found() -> str:
    """What was wrong in the first of some worlds whose observers learn from followers."""
    for seed in range(20):
        try:
            live(seed, **SHAPE)
        except Failed as failure:
            return str(failure).partition("\n\n")[0]
    return "nothing was found"


def test_a_master_that_forgets_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """An observer sees that something is missing, and gets it by connecting anew: nobody is told less."""
    inform = Relaying.inform

    def forgetful(relaying: Relaying, zxid: int, payload: bytes) -> None:
        if zxid % 20 != 7:
            inform(relaying, zxid, payload)

    monkeypatch.setattr(Relaying, "inform", forgetful)

    async def story(stage: Stage) -> None:
        asker = await stage.asker(await stage.formed())
        await mastered(stage)
        for number in range(30):
            await asker.do(create(f"/{number}"))
        await mastered(stage)
        await stage.settled()
        assert stage.data(stage[4], "/29") == b""
        assert len(stage.said("OBSERVERINFO")) > 1

    play(story, **SHAPE)


def test_a_master_that_tells_before_it_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was proposed is passed on at once."""
    log = Learner._log

    def log_and_tell(learner: Learner, zxid: int, payload: bytes) -> None:
        log(learner, zxid, payload)
        if learner.master is not None:
            Relaying.inform(learner.master.telling, zxid, payload)

    monkeypatch.setattr(Learner, "_log", log_and_tell)
    monkeypatch.setattr(Learner, "_apply", lambda learner, zxid: learner._apply_next(zxid))
    assert "which no quorum holds for sure" in found()


def test_a_master_that_answers_a_sync_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without asking the leader, who knows of more."""
    request = Relaying.request

    def answer(
        relaying: Relaying, link: object, session: int, xid: int, op: int, body: bytes, who: object
    ) -> None:
        if op == 9:
            relaying._synced(link)  # type: ignore[arg-type]
        else:
            request(relaying, link, session, xid, op, body, who)  # type: ignore[arg-type]

    monkeypatch.setattr(Relaying, "request", answer)
    with pytest.raises(Failed, match="assert -101 == 0"):
        play(syncs_at_the_observer, **SHAPE)


def test_nothing_is_found_where_nothing_is_broken() -> None:
    """The same worlds."""
    for seed in range(2):
        live(seed, **SHAPE)


def test_masters_serve_in_the_epoch_that_they_follow_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that claims the next one is found out."""

    async def next_epoch(master: ObserverMaster, sid: int, accepted: int) -> int:
        master.epoch += 1
        return master.epoch

    monkeypatch.setattr(ObserverMaster, "epoch_for", next_epoch)
    assert found() != "nothing was found"

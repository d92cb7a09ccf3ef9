"""Reconfiguration: what a request leads to, how an ensemble gets there, and what is kept in files."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from pyzkserver.config import load
from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.quorum.config_files import BesideSnapshots, ConfigFiles
from pyzkserver.quorum.members import Address, Members
from pyzkserver.quorum.reconfig import designated_leader, next_members
from pyzkserver.quorum.reconfiguring import deciders
from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.paths import CONFIG_NODE
from pyzkserver.storage.memory_disk import MemoryDisk
from pyzkserver.wire.election import ServerState
from pyzkserver.wire.requests import CreateRequest, OpCode, ReconfigRequest

from .stage import Client, Stage, run

LOOKING, FOLLOWING, LEADING, OBSERVING = ServerState
THREE = Members.parse("server.1=a:1:2;3\nserver.2=b:1:2;3\nserver.3=c:1:2;3\nversion=7")


def asked(joining=None, leaving=None, whole=None, version=-1):
    return ReconfigRequest(joining, leaving, whole, version)


# --- what a request leads to ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (asked("server.4=d:1:2;3"), "1a 2b 3c 4d"),
        (asked("server.4=d:1:2:observer;3"), "1a 2b 3c 4d*"),
        (asked("server.4=d:1:2;3, server.5=e:1:2;3"), "1a 2b 3c 4d 5e"),
        (asked("server.2=x:1:2;3"), "1a 2x 3c"),
        (asked("server.3=c:1:2:observer;3"), "1a 2b 3c*"),
        (asked(leaving="3"), "1a 2b"),
        (asked(leaving="3,9"), "1a 2b"),
        (asked("server.3=d:1:2;3", "3"), "1a 2b 3d"),
        (asked("server.4=c:1:2;3", "3"), "1a 2b 4c"),
        (asked(version=7, leaving="1"), "2b 3c"),
        (asked(whole="server.8=x:1:2;3\nserver.9=y:1:2;3"), "8x 9y"),
        (asked(whole="server.8=x:1:2,server.9=y:1:2,version=5"), "8x 9y"),
        (asked("nonsense", "nonsense", "server.8=x:1:2,server.9=y:1:2"), "8x 9y"),
    ],
)
def test_a_configuration_that_comes_of_it(request_, expected):
    """Leaving first, then joining, which may replace a member; or everything anew.  The zxid is the version."""
    members = next_members(THREE, request_, 0x100000005)
    assert members.version == 0x100000005
    shown = {
        sid: f"{sid}{member.quorum_addresses[0].host}{'*' * member.observer}"
        for sid, member in members.all.items()
    }
    assert " ".join(shown[sid] for sid in sorted(shown)) == expected


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (asked(version=6, leaving="1"), ErrorCode.BAD_VERSION),
        (asked("server.4=d:1:2"), ErrorCode.BAD_ARGUMENTS),  # no client port
        (asked("server.4"), ErrorCode.BAD_ARGUMENTS),
        (asked("server.4=d:1:2;3=x"), ErrorCode.BAD_ARGUMENTS),
        (asked("server.4=d:1:1;3"), ErrorCode.BAD_ARGUMENTS),
        (asked("server.4=a:1:9;8"), ErrorCode.BAD_ARGUMENTS),  # an address of server.1
        (asked("server.4=d:1:2|e:1:2;3"), ErrorCode.BAD_ARGUMENTS),  # several addresses are not allowed
        (asked("server.x=d:1:2;3"), ErrorCode.MARSHALLING_ERROR),
        (asked(leaving="x"), ErrorCode.MARSHALLING_ERROR),
        (asked(leaving="1,2"), ErrorCode.BAD_ARGUMENTS),  # one alone is a standalone server
        (asked(leaving="1,2,3"), ErrorCode.BAD_ARGUMENTS),
        (asked(whole=""), ErrorCode.BAD_ARGUMENTS),
        (asked(whole="nonsense"), ErrorCode.BAD_ARGUMENTS),
        (asked(whole="server.1=a:1:2"), ErrorCode.BAD_ARGUMENTS),
        (asked(whole="server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1"), ErrorCode.BAD_ARGUMENTS),
        (asked(whole="server.1=a:1:2\nserver.2=b:1:2:observer"), ErrorCode.MARSHALLING_ERROR),
        (asked(whole="server.1=a:1:2:observer"), ErrorCode.MARSHALLING_ERROR),
    ],
)
def test_what_is_refused(request_, code):
    """PrepRequestProcessor's errors; tests/interop/test_reconfig.py holds them against Apache's server."""
    with pytest.raises(ZooKeeperError) as caught:
        next_members(THREE, request_, 9)
    assert caught.value.code == code


def test_an_ensemble_of_one_needs_standalone_disabled():
    request = asked(leaving="1,2")
    assert next_members(THREE, request, 9, standalone_enabled=False).all.keys() == {3}
    with pytest.raises(ZooKeeperError):
        next_members(THREE, asked(leaving="1,2,3"), 9, standalone_enabled=False)


def test_groups_are_changed_as_a_whole_only():
    """Incrementally nobody could say which group a newcomer is in."""
    grouped = Members.parse(THREE.text + "\ngroup.1=1:2:3")
    with pytest.raises(ZooKeeperError) as caught:
        next_members(grouped, asked(leaving="3"), 9)
    assert caught.value.code == ErrorCode.BAD_ARGUMENTS
    whole = "server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1\ngroup.2=2"
    assert next_members(grouped, asked(whole=whole), 9).hierarchical


def test_who_leads_after_it():
    """getDesignatedLeader: the leader where it can be, else who acknowledged it and most after it."""
    moved = next_members(THREE, asked("server.1=x:1:2;3"), 9)
    without = next_members(THREE, asked(leaving="1"), 9)
    observing = next_members(THREE, asked("server.1=a:1:2:observer;3"), 9)
    acked = {1: 12, 2: 9, 3: 11}
    assert designated_leader(1, THREE, next_members(THREE, asked(leaving="3"), 9), acked, 9) == 1
    for members in (moved, without, observing):
        assert designated_leader(1, THREE, members, acked, 9) == 3
        assert designated_leader(1, THREE, members, {1: 12, 2: 9, 3: 9}, 9) == 2
        assert designated_leader(1, THREE, members, {1: 12, 2: 9, 3: 8}, 9) == 2


# --- ensembles --------------------------------------------------------------------------------------------


def line(sid, role="participant", host=None):
    return f"server.{sid}={host or f'm{sid}'}:2888:3888:{role};m{sid}:2181"


async def reconfigure(client, *args, **kwargs):
    return await client.ask(OpCode.RECONFIG, asked(*args, **kwargs))


def shown(member):
    """What a member's clients see at /zookeeper/config."""
    node = member.replica.tree.nodes[CONFIG_NODE]
    return node.data.decode(), node.version


def voters(member):
    return set(member.peer.members.voting)


RECONFIGURABLE = {"reconfig_enabled": True}


def test_the_first_configuration_gets_a_version():
    """ZOOKEEPER-1783: so that it is newer than what somebody who joins has in its files."""

    async def main():
        async with Stage.opened(3, **RECONFIGURABLE) as stage:
            await stage.start()
            await stage.formed()
            for member in stage.running():
                text, version = shown(member)
                assert text.endswith("version=100000000")
                assert version == -1
                assert member.peer.members.version == 0x100000000

    run(main)


def test_without_reconfig_enabled_nothing_changes():
    async def main():
        async with Stage.opened(3) as stage:
            await stage.start()
            leader = await stage.formed()
            client = await Client.new(leader.replica)
            assert (await reconfigure(client, leaving="3")).err == ErrorCode.RECONFIG_DISABLED
            assert shown(leader)[0].endswith("version=0")

    run(main)


@pytest.mark.parametrize("asking", ["leader", "follower"])
def test_members_join_and_leave(asking):
    async def main():
        async with Stage.opened(3, joiners=(4, 5), **RECONFIGURABLE) as stage:
            await stage.start(1, 2, 3)
            leader = await stage.formed()
            follower = next(member for member in stage.running() if member is not leader)
            client = await Client.new((leader if asking == "leader" else follower).replica)
            await stage.start(4, 5)
            await stage.formed()
            applied = await reconfigure(client, f"{line(4)},{line(5)}")
            assert applied.err == 0
            assert applied.data.decode() == leader.peer.members.text
            assert applied.data.decode().endswith(f"version={leader.replica.tree.last_zxid:x}")
            await client.create("/after")
            await stage.until_same()
            for member in stage.running():
                assert voters(member) == {1, 2, 3, 4, 5}
                assert shown(member) == (applied.data.decode(), -1)
            applied = await reconfigure(client, leaving="4")
            assert applied.err == 0
            await client.create("/later")
            await stage.until_same()
            assert {frozenset(voters(member)) for member in stage.running()} == {frozenset({1, 2, 3, 5})}
            assert stage.all[4].state is FOLLOWING  # it is told everything still, and its vote does not count
            # Of four a quorum is three: with 4 alone beside it the leader would be lost.
            for sid in [each for each in (1, 2, 3, 5) if stage.all[each] is not leader][:2]:
                await stage.kill(sid)
            await stage.until(lambda: leader.state is LOOKING)

    run(main)


@pytest.mark.parametrize("change", ["leaves", "moves", "observes"])
def test_a_leader_that_may_not_lead_hands_over(change):
    """The others follow whom it designated at once, without an election."""

    async def main():
        async with Stage.opened(3, **RECONFIGURABLE) as stage:
            await stage.start(1, 2, 3)
            leader = await stage.formed()
            sid = leader.sid
            rounds = {member.sid: member.peer.election.logical_clock for member in stage.running()}
            client = await Client.new(leader.replica)
            for number in range(5):
                await client.create(f"/{number}")
            request = {
                "leaves": {"leaving": str(sid)},
                "moves": {"joining": f"server.{sid}=m{sid}:2999:3888;m{sid}:2181"},
                "observes": {"joining": line(sid, "observer")},
            }[change]
            applied = await reconfigure(client, **request)
            assert applied.err == 0
            others = [each for each in (1, 2, 3) if each != sid]
            await stage.until(lambda: any(stage.all[each].state is LEADING for each in others))
            successor = await stage.formed(*others)
            await stage.until(lambda: leader.state is (OBSERVING if change == "observes" else FOLLOWING))
            assert {each.sid: each.peer.election.logical_clock for each in stage.running()} == rounds
            client = await Client.new(successor.replica)
            await client.create("/after")
            await stage.formed(1, 2, 3)
            await stage.until_same()
            assert "/4" in successor.replica.tree.nodes
            assert voters(leader) == ({1, 2, 3} if change == "moves" else set(others))

    run(main)


def test_roles_change_both_ways():
    """A voter becomes an observer, and an observer a voter; each connects anew to the same leader."""

    async def main():
        async with Stage.opened(3, 1, **RECONFIGURABLE) as stage:
            await stage.start(1, 2, 3, 4)
            leader = await stage.formed()
            client = await Client.new(leader.replica)
            one = next(sid for sid in (1, 2) if sid != leader.sid)
            assert (await reconfigure(client, f"{line(one, 'observer')},{line(4)}")).err == 0
            await stage.until(lambda: (stage.all[one].state, stage.all[4].state) == (OBSERVING, FOLLOWING))
            await stage.formed()
            await client.create("/x")
            await stage.until_same()
            assert leader.state is LEADING

    run(main)


def test_a_new_configuration_needs_its_quorum_at_hand():
    """NewConfigNoQuorum: 4 and 5 are nowhere; and a joiner counts as soon as it follows."""

    async def main():
        async with Stage.opened(3, joiners=(4, 5), **RECONFIGURABLE) as stage:
            await stage.start(3, 1, 2)
            leader = await stage.formed()
            client = await Client.new(leader.replica)
            request = f"{line(4)},{line(5)}"
            assert (await reconfigure(client, request, "1,2")).err == ErrorCode.NEW_CONFIG_NO_QUORUM
            assert voters(leader) == {1, 2, 3}
            assert leader.peer.next_members is None
            await stage.start(4)
            await stage.formed()
            assert (await reconfigure(client, request, "1,2")).err == 0

    run(main)


def test_one_reconfiguration_at_a_time():
    """ReconfigInProgress, until the one before is committed; writes behind it wait for quorums of both."""

    async def main():
        async with Stage.opened(3, **RECONFIGURABLE) as stage:
            await stage.start(1, 2, 3)
            leader = await stage.formed()
            client = await Client.new(leader.replica)
            other = next(sid for sid in (1, 2) if sid != leader.sid)
            first = client.send(OpCode.RECONFIG, asked(leaving=str(other)))
            second = client.send(OpCode.RECONFIG, asked(leaving=str(other)))
            assert leader.peer.next_members is not None
            assert len(deciders(leader.peer.local)) == 2
            assert (await client.hear(first)).err == 0
            assert (await client.hear(second)).err == ErrorCode.RECONFIG_IN_PROGRESS
            assert leader.peer.next_members is None
            assert len(deciders(leader.peer.local)) == 1

    run(main)


@pytest.mark.parametrize("silent", [(1, 2), (4, 5)])
def test_quorums_of_both_decide(silent):
    """Of the old members 1 or 2 must agree besides 3, of the new ones 4 or 5: whoever is silent holds it up."""

    async def main():
        async with Stage.opened(3, joiners=(4, 5), **RECONFIGURABLE) as stage:
            await stage.start(3, 1, 2)
            assert (await stage.formed()).sid == 3
            await stage.start(4, 5)
            await stage.formed()
            client = await Client.new(stage.all[3].replica)
            await stage.until_same()
            followings = [stage.all[sid].peer.learner.following for sid in silent]
            unsaid = []
            for following in followings:
                following.send = unsaid.append
            xid = client.send(OpCode.RECONFIG, asked(f"{line(4)},{line(5)}", "1,2"))
            with trio.move_on_after(0.5) as scope:
                await client.hear(xid)
            assert scope.cancelled_caught
            assert voters(stage.all[3]) == {1, 2, 3}
            for sid, following in zip(silent, followings, strict=True):
                following.send = stage.all[sid].peer.learner.queue
                for data in unsaid:
                    following.send(data)
            assert (await client.hear(xid)).err == 0
            assert voters(stage.all[3]) == {3, 4, 5}

    run(main)


def test_a_leader_that_handed_over_commits_nothing_more():
    """What was proposed behind the reconfiguration is for the next leader to decide (``allowedToCommit``)."""

    async def main():
        async with Stage.opened(3, **RECONFIGURABLE) as stage:
            await stage.start(1, 2, 3)
            leader = await stage.formed()
            leading = leader.peer.leader.leading
            client = await Client.new(leader.replica)
            xid = client.send(OpCode.RECONFIG, asked(leaving=str(leader.sid)))
            for number in range(3):
                client.send(OpCode.CREATE, CreateRequest(f"/{number}", b"", list(OPEN_ACL), 0))
            applied = await client.hear(xid)
            zxid = Members.parse(applied.data.decode()).version
            others = [sid for sid in (1, 2, 3) if sid != leader.sid]
            await stage.until(lambda: any(stage.all[sid].state is LEADING for sid in others))
            assert leading.proposals.committed == zxid
            assert leading.proposals.proposed == zxid + 3

    run(main)


def test_who_may_reconfigure():
    """The node's ACL lets everybody read and nobody write, unless skipACL or the superuser."""

    async def main():
        async with Stage.opened(3, **RECONFIGURABLE, skip_acl=False) as stage:
            await stage.start(1, 2, 3)
            leader = await stage.formed()
            client = await Client.new(leader.replica)
            assert (await reconfigure(client, leaving="1")).err == ErrorCode.NO_AUTH
            assert (await reconfigure(client, leaving="1", version=5)).err == ErrorCode.BAD_VERSION
            assert leader.peer.next_members is None
            assert voters(leader) == {1, 2, 3}

    run(main)


def test_a_proposed_configuration_is_completed_by_the_next_leader():
    """The leader is killed before it commits: either the reconfiguration never was, or all have it."""

    async def main():
        async with Stage.opened(3, joiners=(4,), **RECONFIGURABLE) as stage:
            await stage.start(1, 2, 3, 4)
            leader = await stage.formed()
            client = await Client.new(leader.replica)
            client.send(OpCode.RECONFIG, asked(line(4)))
            await stage.kill(leader.sid)
            rest = [sid for sid in (1, 2, 3) if sid != leader.sid]
            successor = await stage.formed(*rest)
            client = await Client.new(successor.replica)
            await client.create("/goes-on")
            configurations = {stage.all[sid].peer.members.text for sid in rest}
            assert len(configurations) == 1
            assert successor.peer.next_members is None

    run(main)


# --- files ------------------------------------------------------------------------------------------------


@pytest.fixture
def zoo_cfg(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "myid").write_text("2")
    path = tmp_path / "zoo.cfg"
    lines = ["# ours", f"dataDir={tmp_path / 'data'}", "initLimit=5", "syncLimit=5", "reconfigEnabled=true"]
    lines += ["clientPort=2181", "clientPortAddress=127.0.0.1", *THREE.text.splitlines()[:3]]
    path.write_text("\n".join(lines).replace(";0.0.0.0:3", ""))
    return path


def members_of(path):
    config = load(path)
    return Members(config.membership), config.next_members


def test_a_proposed_configuration_is_kept_beside_the_one_in_force(zoo_cfg):
    """zoo.cfg.dynamic.next, which a member that starts anew takes into elections."""
    files = ConfigFiles(zoo_cfg)
    first = members_of(zoo_cfg)[0].with_version(5)
    files.decide(first, 2)
    proposed = next_members(first, asked(leaving="3"), 9)
    files.propose(proposed)
    now, following = members_of(zoo_cfg)
    assert now == first
    assert Members.parse(following) == proposed
    # What comes into force before it, where others decided that, leaves it there.
    between = first.with_version(7)
    files.decide(between, 2, last=False)
    now, following = members_of(zoo_cfg)
    assert now == between
    assert Members.parse(following) == proposed
    files.decide(proposed, 2)
    assert members_of(zoo_cfg) == (proposed, "")


def test_zoo_cfg_points_to_the_configuration_in_force(zoo_cfg):
    """editStaticConfig: lines about members go, others stay; what it was at first is in zoo.cfg.bak."""
    before = zoo_cfg.read_text()
    files = ConfigFiles(zoo_cfg)
    decided = members_of(zoo_cfg)[0].with_version(0x1F)
    files.decide(decided, 2)
    assert (zoo_cfg.parent / "zoo.cfg.dynamic.1f").read_text() == "\n".join(
        sorted(decided.text.split("\n")[:3])
    )
    assert zoo_cfg.with_name("zoo.cfg.bak").read_text() == before
    lines = zoo_cfg.read_text().splitlines()
    assert lines[-1] == f"dynamicConfigFile={zoo_cfg.parent / 'zoo.cfg.dynamic.1f'}"
    assert "clientPort=2181" in lines
    assert not [text for text in lines if text.startswith("server.")]
    files.decide(decided.with_version(0x20), 2)
    assert members_of(zoo_cfg)[0].version == 0x20
    assert zoo_cfg.with_name("zoo.cfg.bak").read_text() == before


def test_a_client_address_of_the_configuration_replaces_that_of_zoo_cfg(zoo_cfg):
    files = ConfigFiles(zoo_cfg)
    decided = next_members(members_of(zoo_cfg)[0], asked("server.2=b:1:2;127.0.0.1:2999"), 9)
    files.decide(decided, 2)
    config = load(zoo_cfg)
    assert (config.client_port_address, config.client_port) == ("127.0.0.1", 2999)


def test_a_file_that_cannot_be_written_is_complained_about(zoo_cfg, caplog):
    """What is decided is decided; the member goes on, and its files are as they were."""
    before = zoo_cfg.read_text()
    zoo_cfg.with_name("zoo.cfg.dynamic.9.tmp").mkdir()
    ConfigFiles(zoo_cfg).decide(members_of(zoo_cfg)[0].with_version(9), 2)
    assert "zoo.cfg.dynamic.9 cannot be written" in caplog.text
    assert zoo_cfg.read_text() == before
    ConfigFiles(Path("nowhere/zoo.cfg")).decide(THREE, 2)


def test_an_address_from_zoo_cfg_is_not_written(zoo_cfg):
    """isClientAddrFromStatic: others do not know it."""
    members = members_of(zoo_cfg)[0].with_version(9).with_client_address(2, Address("127.0.0.1", 2181))
    ConfigFiles(zoo_cfg).decide(members, 2)
    assert ";" not in (zoo_cfg.parent / "zoo.cfg.dynamic.9").read_text()
    assert replace(members[2]).client_address == ("127.0.0.1", 2181)


@pytest.mark.parametrize("keep", [True, False])
def test_members_without_a_zoo_cfg_remember(keep):
    """Beside their snapshots: all are killed, and started as they were at first."""

    async def main():
        async with Stage.opened(3, 1, reconfig_enabled=True) as stage:
            await stage.start(1, 2, 3, 4)
            leader = await stage.formed()
            client = await Client.new(leader.replica)
            assert (await reconfigure(client, f"{line(1, 'observer')},{line(4)}")).err == 0
            await stage.formed()
            await client.create("/x")
            await stage.until_same()
            text = leader.peer.members.text
            for sid in (1, 2, 3, 4):
                await stage.kill(sid)
            if not keep:  # the disk of one is lost: the others tell it
                stage.all[2].disk = MemoryDisk()
            await stage.start(1, 2, 3, 4)
            await stage.formed()
            assert {member.peer.members.text for member in stage.running()} == {text}
            assert stage.all[1].state is OBSERVING

    run(main)


def test_a_follower_keeps_a_proposed_configuration_before_it_acknowledges():
    """Whoever is elected with its vote, while nobody knows what became of it, needs the votes of both."""

    async def main():
        async with Stage.opened(3, **RECONFIGURABLE) as stage:
            await stage.start(1, 2, 3)
            leader = await stage.formed()
            client = await Client.new(leader.replica)
            follower = next(each for each in stage.running() if each is not leader)
            send, told = follower.peer.learner.following.send, []

            kept = BesideSnapshots(follower.disk, follower.peer.local.history.store.snapshots)

            def watched(data):
                told.append(kept.recall(THREE)[1].version)
                send(data)

            follower.peer.learner.following.send = watched
            other = next(each.sid for each in stage.running() if each not in (leader, follower))
            assert (await reconfigure(client, leaving=str(other))).err == 0
            zxid = leader.peer.members.version
            await stage.until(lambda: follower.peer.members.version == zxid)
            assert told[0] == zxid
            assert [members.version for members in kept.recall(THREE)] == [zxid, zxid]

    run(main)

"""Elections together with Apache's members, on the election port alone: ours votes, and does nothing else."""

import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio
from quorum.electing import Elector

from pyzkserver.host import Host
from pyzkserver.quorum.members import Address, Member, Members
from pyzkserver.wire.election import ServerState

from .apache import QUIET_JVM, child, debian_classpath, free_port

pytestmark = [pytest.mark.slow, pytest.mark.interop, pytest.mark.timeout(300)]

LOOKING, FOLLOWING, LEADING, OBSERVING = ServerState


class Trio:
    """Three members, of which ``ours`` is this process's and the others are Apache's."""

    def __init__(self, folder: Path, stack: ExitStack, **lines: str) -> None:
        self.folder, self.stack = folder, stack
        self.members = Members.of(
            *(
                Member(
                    sid,
                    (Address("127.0.0.1", free_port()),),
                    (Address("127.0.0.1", free_port()),),
                    Address("127.0.0.1", free_port()),
                )
                for sid in (1, 2, 3)
            )
        )
        self.settings = lines

    def start(self, sid: int) -> None:
        """Start a member of Apache's; it may take a second until it votes."""
        home = self.folder / str(sid)
        (home / "data").mkdir(parents=True)
        (home / "data" / "myid").write_text(f"{sid}\n")
        lines = [
            "tickTime=500",
            "initLimit=10",
            "syncLimit=4",
            f"dataDir={home / 'data'}",
            "4lw.commands.whitelist=*",
            "admin.enableServer=false",
            *(f"{key}={value}" for key, value in self.settings.items()),
            *(f"server.{number}={member.text}" for number, member in self.members.all.items()),
        ]
        (home / "zoo.cfg").write_text("\n".join(lines) + "\n")
        command = ["java", *QUIET_JVM, "-Dzookeeper.forceSync=no", "-cp", debian_classpath()]
        command += ["org.apache.zookeeper.server.quorum.QuorumPeerMain", str(home / "zoo.cfg")]
        self.stack.enter_context(child(command, home / "log"))

    def mode(self, sid: int) -> str:
        """What srvr says: leader, follower, or nothing while it does not serve."""
        client = self.members[sid].client_address
        assert client is not None
        try:
            with socket.create_connection(client, timeout=5) as sock:
                sock.sendall(b"srvr")
                answer = sock.makefile("rb").read().decode()
        except OSError:
            return ""
        return answer.partition("Mode: ")[2].partition("\n")[0]

    async def until_modes(self, *sids: int) -> dict[int, str]:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            modes = {sid: self.mode(sid) for sid in sids}
            if all(modes.values()):
                return modes
            await trio.sleep(0.1)
        pytest.fail(f"no leader: {modes}")


@contextmanager
def ensemble(folder: Path, **settings: str) -> Iterator[Trio]:
    with ExitStack() as stack:
        yield Trio(folder, stack, **settings)


async def started(nursery: trio.Nursery, trio_: Trio, sid: int, **standing: object) -> Elector:
    elector = Elector(sid, trio_.members, Host(), **standing)
    await nursery.start(elector.election.run)
    return elector


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
@pytest.mark.parametrize("ours", [1, 2, 3])
def test_we_and_they_agree_on_the_leader(ours: int, order: tuple[int, ...], tmp_path: Path) -> None:
    """Whichever of the three is ours, and whenever it comes: it ends with the leader that the others have.

    Where ours is elected nobody can follow it for long, since it only votes; then it says so, and the others
    go on without it.
    """

    async def main(members: Trio) -> None:
        async with trio.open_nursery() as nursery:
            elector = None
            for sid in order:
                if sid == ours:
                    elector = await started(nursery, members, sid)
                    nursery.start_soon(elector.elect)
                else:
                    members.start(sid)
                    await trio.sleep(1.5)
            assert elector is not None
            with trio.fail_after(60):
                while elector.state is LOOKING:
                    await trio.sleep(0.01)
            if elector.state is LEADING:
                assert ours > min(order[:2])
            else:
                others = [sid for sid in order if sid != ours]
                modes = await members.until_modes(*others)
                assert modes[elector.vote.leader] == "leader"
                assert sorted(modes.values()) == ["follower", "leader"]
            nursery.cancel_scope.cancel()

    with ensemble(tmp_path) as members:
        trio.run(main, members)


@pytest.mark.parametrize("multi", ["true", "false"])
def test_we_join_and_are_asked(multi: str, tmp_path: Path) -> None:
    """Established members tell us their leader; and one that starts later learns it from us as well."""

    async def main(members: Trio) -> None:
        members.start(1)
        members.start(2)
        assert await members.until_modes(1, 2) == {1: "follower", 2: "leader"}
        async with trio.open_nursery() as nursery:
            elector = await started(nursery, members, 3, zxid=5, multi_address_enabled=multi == "true")
            with trio.fail_after(30):
                vote = await elector.elect()
            assert (vote.leader, vote.state) == (2, FOLLOWING)
            # And as somebody who leads already, it lets them look again and answers.
            elector.observer = True
            with trio.fail_after(30):
                vote = await elector.elect()
            assert (vote.leader, vote.state) == (2, OBSERVING)
            nursery.cancel_scope.cancel()

    with ensemble(tmp_path, **{"multiAddress.enabled": multi}) as members:
        trio.run(main, members)


def test_a_better_vote_of_ours_is_taken_over(tmp_path: Path) -> None:
    """One of theirs and ours, which has a later history: theirs votes for us, and so we lead."""

    async def main(members: Trio) -> None:
        async with trio.open_nursery() as nursery:
            elector = await started(nursery, members, 1, zxid=7, epoch=1)
            members.start(3)
            with trio.fail_after(60):
                vote = await elector.elect()
            assert (vote.leader, vote.state, vote.zxid) == (1, LEADING, 7)
            assert elector.election.leading_tracker.acks == [{1, 3}]
            with trio.fail_after(60):
                while not elector.looking_sids:  # it looks again, since nobody serves our quorum port
                    await trio.sleep(0.05)
            assert set(elector.looking_sids) == {3}
            nursery.cancel_scope.cancel()

    with ensemble(tmp_path) as members:
        trio.run(main, members)

"""A world whose story a test tells: a calm network until it says otherwise, and clients that ask what it says."""

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from serving.talk import Call, Event, Reply, hello, packets, read_answer, read_welcome

from .addresses import CLIENT_PORT, client_address
from .ensemble import PATIENCE, TICK, World, live
from .member import SimMember
from .stream import SimStream

__all__ = ["TICK", "Asker", "Stage", "play"]

BEGINNINGS = ("DIFF", "TRUNC", "SNAP")

Story = Callable[["Stage"], Awaitable[None]]


class Asker:
    """A client at one member.  What it is not answered within a while it never will be: ``Gone``."""

    class Gone(Exception):
        """The connection ended, or nothing comes."""

    def __init__(self, stage: "Stage", number: int) -> None:
        self.machine = stage.network.machine(client_address(number))
        self.session_id = 0
        self.password = bytes(16)
        self.last_zxid = 0
        self.events: list[Event] = []
        self._stream: SimStream | None = None
        self._xid = 0
        self._buffer = b""

    async def connect(self, member: SimMember, timeout: int = 4000) -> bool:
        """Shake hands, with the session if there is one; whether it was had."""
        self.hang_up()
        with self._patience():
            self._stream = await self.machine.connect(member.address, CLIENT_PORT)
            await self._stream.send_all(
                hello(timeout, session_id=self.session_id, password=self.password, last_zxid=self.last_zxid)
            )
            welcome = read_welcome(await self._frame())
        self.session_id, self.password = welcome.session_id, welcome.password or bytes(16)
        return welcome.timeout > 0

    async def send(self, *calls: Call) -> None:
        """Ask for these, and wait for nothing."""
        assert self._stream is not None
        await self._stream.send_all(packets(calls, self._xid + 1))
        self._xid += len(calls)

    async def hear(self, count: int) -> list[Reply]:
        """So many replies."""
        replies: list[Reply] = []
        with self._patience():
            while len(replies) < count:
                answer = read_answer(await self._frame())
                if isinstance(answer, Event):
                    self.events.append(answer)
                else:
                    self.last_zxid = max(self.last_zxid, answer.zxid)
                    replies.append(answer)
        return replies

    async def ask(self, *calls: Call) -> list[Reply]:
        """Ask for these, and hear what is answered."""
        try:
            await self.send(*calls)
        except trio.BrokenResourceError as error:
            raise self.Gone from error
        return await self.hear(len(calls))

    async def do(self, *calls: Call) -> None:
        """Ask for what has to succeed."""
        for reply in await self.ask(*calls):
            assert reply.err == 0, reply

    def hang_up(self) -> None:
        """Be gone, without a word to the session."""
        if self._stream is not None:
            self._stream.close()
        self._stream, self._buffer = None, b""

    def _patience(self) -> "_Patience":
        return _Patience(self.Gone)

    async def _frame(self) -> bytes:
        assert self._stream is not None
        while True:
            buffer = self._buffer
            if len(buffer) >= 4 and len(buffer) >= (end := 4 + int.from_bytes(buffer[:4], "big")):
                self._buffer = buffer[end:]
                return buffer[4:end]
            data = await self._stream.receive_some()
            if not data:
                raise self.Gone
            self._buffer += data


class _Patience:
    """What takes longer than a while, or breaks, is ``Gone``."""

    def __init__(self, gone: type[Exception]) -> None:
        self._gone = gone
        self._scope = trio.move_on_after(2.0)

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        swallowed = self._scope.__exit__(kind, error, trace)
        if self._scope.cancelled_caught or isinstance(error, trio.BrokenResourceError | OSError):
            raise self._gone from error
        return bool(swallowed)


class Stage(World):
    """Members are ``stage[1]`` and so on."""

    def __init__(
        self,
        story: Story,
        *,
        voters: int = 3,
        observers: int = 0,
        start: bool = True,
        commit_log_count: int = 500,
        **config: Any,
    ) -> None:
        settings = {
            "init_limit": 10,
            "sync_limit": 5,
            "snap_count": 100_000,
            "local_sessions_enabled": False,
            "local_sessions_upgrading_enabled": False,
            "read_only_mode_enabled": False,
            **config,
        }
        super().__init__(
            0,
            voters=voters,
            observers=observers,
            clients=1,
            commit_log_count=commit_log_count,
            majority=True,
            **settings,
        )
        self.slowness = 0.002
        self._tell = story
        self._start = start
        self._askers = 0

    def __getitem__(self, sid: int) -> SimMember:
        return self.members[sid - 1]

    async def story(self) -> None:
        self.network.buffer, self.network.patience = 65536, 15.0
        if self._start:
            self.begin(*range(1, len(self.members) + 1))
        await self._tell(self)

    def begin(self, *sids: int) -> None:
        """Start these members."""
        for sid in sids:
            self[sid].start(self.nursery)

    async def until(self, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Wait for what others bring about; it must not take longer than that."""
        with trio.fail_after(seconds):
            while not condition():
                await trio.sleep(0.01)

    async def formed(self, *sids: int) -> SimMember:
        """Wait until these members, or all, serve under one leader, and return that one."""
        wanted = [self[sid] for sid in sids] or self.members

        def formed() -> bool:
            leaders = [member for member in wanted if member.process is not None and member.process.leads]
            return (
                len(leaders) == 1
                and all(member.tree is not None for member in wanted)
                and self._same_epoch(wanted)
            )

        await self.until(formed)
        return next(member for member in wanted if member.process is not None and member.process.leads)

    @staticmethod
    def _same_epoch(members: list[SimMember]) -> bool:
        return len({member.process.epoch for member in members if member.process is not None}) == 1

    def others(self, member: SimMember) -> list[SimMember]:
        """All but this one."""
        return [other for other in self.members if other is not member]

    def cut_off(self, *members: SimMember) -> None:
        """These members hear nothing of the others, nor those of them.  Clients reach everybody."""
        addresses = [member.address for member in members]
        self.network.partition(addresses, [each.address for each in self.members if each not in members])

    async def asker(self, member: SimMember, timeout: int = 4000) -> Asker:
        """A client with a session at this member."""
        self._askers += 1
        asker = Asker(self, 100 + self._askers)
        assert await asker.connect(member, timeout)
        return asker

    async def settled(self) -> SimMember:
        """Everything is mended, and all members become alike.  The leader."""
        self.heal()
        for member in self.members:
            member.start(self.nursery)
        leader = await self.formed()
        # A new session is a transaction: until there is one, who took over a history is at the end of the last.
        (await self.asker(leader)).hang_up()
        await self.until(self._alike)
        await trio.sleep(0.5)
        await self.until(self._alike)
        self.check_trees()
        return leader

    def data(self, member: SimMember, path: str) -> bytes | None:
        """What this member shows there, or None."""
        assert member.tree is not None
        node = member.tree.nodes.get(path)
        return None if node is None else node.data

    def said(self, words: str) -> list[str]:
        """Lines of the transcript with these words."""
        return [line for line in self.transcript.lines() if words in line]

    def came_back_with(self, name: str) -> bool:
        """Whether the last synchronization began with this packet."""
        beginnings = [
            line for line in self.transcript.lines() if any(f"  {each} 0x" in line for each in BEGINNINGS)
        ]
        return f"  {name} 0x" in beginnings[-1]


def play(story: Story, **shape: Any) -> Stage:
    """Let this story happen.  All invariants are watched, and what fails tells all that was said."""
    stage = Stage(story, **shape)
    live(0, stage)
    return stage

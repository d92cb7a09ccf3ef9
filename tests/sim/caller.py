"""A client of a simulated server that asks one thing after the other, and looks at each answer."""

import trio
from serving.talk import Call, Event, Reply, cut_frames, hello, packets, read_answer, read_welcome

from pyzkserver.serving.connection import Connection

from .server import SimServer

__all__ = ["Caller"]


class Caller:
    """One connection.  ``answers`` are those that nobody took yet, events among them."""

    def __init__(self, server: SimServer) -> None:
        self.session_id = 0
        self.password = bytes(16)
        self.answers: list[Reply | Event] = []
        self._output = b""
        self._greeted = False
        self._xid = 0
        self._connection = server.connect(self._woken)

    async def greet(self, timeout: int = 4000, *, session_id: int = 0, password: bytes = bytes(16)) -> bool:
        """Shake hands; whether a session was had."""
        self._say(hello(timeout, session_id=session_id, password=password))
        with trio.fail_after(3600):
            while not self._output:
                await trio.sleep(0.001)
        welcome = read_welcome(self._output[4:])
        self._output = b""
        self._greeted = True
        self.session_id, self.password = welcome.session_id, welcome.password or b""
        return welcome.timeout > 0

    def send(self, *calls: Call) -> None:
        """Ask for these in one go, and wait for nothing."""
        self._say(packets(calls, self._xid + 1))
        self._xid += len(calls)

    async def ask(self, *calls: Call) -> list[Reply | Event]:
        """What is answered to these, and whatever came before."""
        before = len(self.answers)
        self.send(*calls)
        with trio.fail_after(3600):
            while sum(isinstance(answer, Reply) for answer in self.answers[before:]) < len(calls):
                await trio.sleep(0.001)
        answers, self.answers = self.answers, []
        return answers

    async def write(self, *calls: Call) -> None:
        """Ask for these; all must succeed."""
        for answer in await self.ask(*calls):
            assert isinstance(answer, Event) or answer.err == 0, answer

    def hang_up(self) -> None:
        """Be gone without a word."""
        self._connection.closed()

    def _say(self, data: bytes) -> None:
        self._connection.receive(data)
        self._woken(self._connection)

    def _woken(self, connection: Connection) -> None:
        self._output += b"".join(connection.outbox)
        connection.outbox = []
        connection.queued = 0
        if self._greeted:
            self.answers += map(read_answer, cut_frames(self._output))
            self._output = b""
        if connection.backlog:
            trio.lowlevel.current_trio_token().run_sync_soon(self._continue)

    def _continue(self) -> None:
        if self._connection.backlog:
            self._say(b"")

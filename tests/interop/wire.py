"""A client without a mind of its own: one connection, one request at a time, and what comes back."""

from __future__ import annotations

import socket
from types import TracebackType

from serving.talk import Call, Event, Reply, Welcome, hello, packet, read_answer, read_welcome

PATIENCE = 30.0  # seconds


class Wire:
    """A session on one connection; ``welcome`` is the answer to its handshake, or None if there was none."""

    def __init__(
        self, port: int, timeout: int = 10_000, session: Welcome | None = None, *, last_zxid: int = 0,
        read_only: bool = False,
    ) -> None:  # fmt: skip
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._file = self._socket.makefile("rb")
        self._xid = 0
        self.events: list[Event] = []
        """Those that came before the replies that were read."""
        number, password = (session.session_id, session.password) if session else (0, bytes(16))
        self._socket.sendall(
            hello(timeout, session_id=number, password=password, last_zxid=last_zxid, read_only=read_only)
        )
        answer = self.read_frame()
        self.welcome: Welcome | None = read_welcome(answer) if answer else None

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()

    @property
    def session(self) -> Welcome:
        assert self.welcome is not None, "the server hung up on the handshake"
        assert self.welcome.timeout > 0, "the session is not known"
        return self.welcome

    def read_frame(self) -> bytes:
        """The next frame; nothing when the server hung up."""
        try:
            length = self._file.read(4)
            return self._file.read(int.from_bytes(length)) if len(length) == 4 else b""
        except ConnectionError:
            return b""

    def ask(self, call: Call) -> Reply:
        """One request and its reply."""
        self._xid += 1
        self._socket.sendall(packet(self._xid, *call))
        while True:
            answer = read_answer(self.read_frame())
            if isinstance(answer, Reply):
                assert answer.xid == self._xid
                return answer
            self.events.append(answer)

    def hang_up(self) -> None:
        """Without a farewell."""
        self._file.close()
        self._socket.close()

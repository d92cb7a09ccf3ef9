"""A small synchronous client: it readies the tree, asks "do you serve?", and cleans up.

Nothing that is measured by the request runs here.
"""

import socket
import time
from collections.abc import Iterable

import frames

HOST = "127.0.0.1"


class Client:
    """One session.  Raises OSError where the server goes away, frames.ReplyError where it refuses."""

    def __init__(self, port: int, timeout: float = 60.0) -> None:
        self._socket = socket.create_connection((HOST, port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._xid = 0
        try:
            self._socket.sendall(frames.connect_request())
            self.read_frame()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the session, and wait for the server to say so."""
        try:
            self.call(frames.CLOSE)
        except OSError:
            pass  # it is gone: as good as closed
        finally:
            self._socket.close()

    def read_frame(self) -> bytes:
        """The next whole frame, its length prefix included."""
        size = 4
        while len(self._buffer) < size or size == 4:
            if len(self._buffer) >= 4:
                size = 4 + frames.INT.unpack_from(self._buffer)[0]
                if len(self._buffer) >= size:
                    break
            chunk = self._socket.recv(1 << 18)
            if not chunk:
                raise ConnectionResetError("the server closed the connection")
            self._buffer += chunk
        frame = bytes(self._buffer[:size])
        del self._buffer[:size]
        return frame

    def call(self, opcode: int, body: bytes = b"", accept: tuple[int, ...] = ()) -> bytes:
        """One request; the whole reply frame.  Error codes other than 0 and those in `accept` are raised."""
        self._xid += 1
        self._socket.sendall(frames.request(self._xid, opcode, body))
        reply = self.read_frame()
        ((xid, err, _body),) = frames.split(reply)
        if xid != self._xid or (err and err not in accept):
            raise frames.ReplyError(f"opcode {opcode}: reply to {xid} with error {err}")
        return reply

    def call_many(self, requests: Iterable[tuple[int, bytes]], depth: int = 500) -> int:
        """Many requests, `depth` at a time; how many.  The first error is raised."""
        done = 0
        block: list[bytes] = []
        for opcode, body in requests:
            block.append(frames.request(len(block) + 1, opcode, body))
            if len(block) == depth:
                done += self._exchange(block)
                block.clear()
        return done + self._exchange(block)

    def _exchange(self, block: list[bytes]) -> int:
        self._socket.sendall(b"".join(block))
        frames.check_block(b"".join(self.read_frame() for _ in block), len(block))
        return len(block)


def wait_until_served(port: int, seconds: float, interval: float = 0.001) -> float:
    """Ask until the first answer, to a session and one exists on /: its time, by time.perf_counter().

    An open port is not enough: Apache's server listens before it serves, and who comes at the wrong moment is
    never answered.  So nobody is waited for long: first 10 ms, then twice as long each time (on a busy machine a
    server that serves may need it).  TimeoutError where it takes longer than `seconds`.
    """
    deadline = time.perf_counter() + seconds
    patience = 0.01
    while True:
        try:
            client = Client(port, min(patience, seconds))
            client.call(frames.EXISTS, frames.get_body("/"))
        except OSError as error:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"nothing answered on port {port} within {seconds:g} s") from None
            if isinstance(error, TimeoutError):
                patience *= 2
            time.sleep(interval)
            continue
        answered = time.perf_counter()
        client.close()
        return answered


def four_letter_word(port: int, word: str) -> str:
    """What the server says to `srvr` and its like; empty where it does not answer."""
    try:
        with socket.create_connection((HOST, port), 5) as connection:
            connection.sendall(word.encode())
            answer = b""
            while chunk := connection.recv(1 << 16):
                answer += chunk
    except OSError:
        return ""
    return answer.decode(errors="replace")

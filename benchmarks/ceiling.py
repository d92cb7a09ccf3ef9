"""A server that does nothing: it counts bytes and answers constants.

What the generator reaches against it is the most that the generator can ever measure (on two cores or more:
this one needs a core too).  The real servers must stay well below.
"""

import multiprocessing
import select
import socket
from struct import Struct

_REPLY = Struct(">iiqi")


class Ceiling:
    """Runs in a process of its own while the context lasts; entering gives the port.

    `request_size` and `reply_size` are the bytes of a block of `depth` requests and of its replies.
    """

    def __init__(self, request_size: int, reply_size: int, depth: int) -> None:
        each = reply_size // depth
        replies = b"".join(_REPLY.pack(each - 4, xid, 1, 0).ljust(each, b"\0") for xid in range(1, depth + 1))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._process = multiprocessing.Process(
            target=_serve, args=(self._listener, request_size, replies), daemon=True
        )

    def __enter__(self) -> int:
        self._process.start()
        port: int = self._listener.getsockname()[1]
        return port

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.join()
        self._listener.close()


def _serve(listener: socket.socket, request_size: int, replies: bytes) -> None:
    """Until killed: a handshake for each connection, then `replies` for every `request_size` bytes."""
    poll = select.epoll() if hasattr(select, "epoll") else select.poll()
    poll.register(listener.fileno(), select.POLLIN)
    clients: dict[int, socket.socket] = {}
    pending: dict[int, int] = {}
    view = memoryview(bytearray(1 << 16))
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                client = _welcome(listener)
                clients[client.fileno()], pending[client.fileno()] = client, 0
                poll.register(client.fileno(), select.POLLIN)
                continue
            size = pending[fd] + clients[fd].recv_into(view)
            if size == pending[fd]:
                poll.unregister(fd)
                clients.pop(fd).close()
            elif size == request_size:
                pending[fd] = 0
                clients[fd].sendall(replies)
            else:
                pending[fd] = size


def _welcome(listener: socket.socket) -> socket.socket:
    client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.recv(1 << 10)
    client.sendall(Struct(">iiiqi").pack(37, 0, 30_000, 1, 16) + bytes(17))
    return client

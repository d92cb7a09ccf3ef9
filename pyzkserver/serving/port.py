"""The client port: a listening socket, and the data plane behind it."""

import errno
import select
import socket

from pyzkserver.config import Config
from pyzkserver.errors import PyzkserverError
from pyzkserver.host import Host

from .admission import Admission
from .epoll_plane import EpollPlane
from .service import Service
from .task_plane import TaskPlane

__all__ = ["PortUnavailable", "data_plane", "listen", "reserve"]

_DEFAULT_BACKLOG = 511
"""Connections that wait to be accepted.  Apache leaves it to Java: 50, too few for a burst of clients."""


class PortUnavailable(PyzkserverError):
    """The client port cannot be listened on.  The message says why, and what to change."""


def listen(host: Host, config: Config, address: str, port: int) -> socket.socket:
    """Open the client port, or any that is free where that is 0.  Raises PortUnavailable."""
    backlog = config.client_port_listen_backlog
    try:
        return host.listen(address, port, backlog if backlog > 0 else _DEFAULT_BACKLOG)
    except OSError as error:
        where = f"{address}:{port}"
        if error.errno == errno.EADDRINUSE:
            raise PortUnavailable(
                f"{where} is taken already: stop whoever has it, or choose another port"
                " (--port N, clientPort=N in zoo.cfg, client_port=N; 0 takes any that is free)"
            ) from error
        if error.errno == errno.EACCES:
            raise PortUnavailable(
                f"{where}: this user may not listen there; choose a port above 1023"
            ) from error
        raise PortUnavailable(
            f"cannot listen on {where}: {error.strerror or error}; see --host, clientPortAddress in zoo.cfg, or"
            " client_port_address"
        ) from error


def reserve(port: int, address: str = "127.0.0.1") -> socket.socket:
    """Keep a port for a server that is not there yet, or any more: connections are refused until it listens.

    The socket is bound and does not listen, so the server's own may be bound there as well (SO_REUSEADDR; on Linux
    it may even listen meanwhile).  0 takes any that is free.  Raises OSError where somebody has it.
    """
    reserved = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind((address, port))
    except OSError:
        reserved.close()
        raise
    return reserved


def data_plane(service: Service, admission: Admission) -> EpollPlane | TaskPlane:
    """The fastest one that this system has."""
    return EpollPlane(service, admission) if hasattr(select, "epoll") else TaskPlane(service, admission)

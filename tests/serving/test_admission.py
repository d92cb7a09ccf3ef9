"""Who may connect, and how an address is written."""

import errno
import socket

import pytest

from pyzkserver.config import Config
from pyzkserver.serving.admission import Admission, client_address, prepare_socket


@pytest.mark.parametrize(
    ("peer", "written"),
    [
        (("127.0.0.1", 5), "127.0.0.1"),
        (("::1", 5, 0, 0), "0:0:0:0:0:0:0:1"),
        (("2001:db8::ff00:42:8329", 5, 0, 0), "2001:db8:0:0:0:ff00:42:8329"),
        (("fe80::1%lo", 5, 0, 1), "fe80:0:0:0:0:0:0:1"),
        (("::ffff:192.0.2.7", 5, 0, 0), "192.0.2.7"),
    ],
)
def test_addresses_are_written_as_java_writes_them(
    peer: tuple[str, int] | tuple[str, int, int, int], written: str
) -> None:
    """They are identities in ACLs of scheme ip: all eight groups of IPv6, and IPv4 as IPv4 whatever came in."""
    assert client_address(peer) == (written, 5)


def test_both_limits_at_once() -> None:
    """maxCnxns and maxClientCnxns: the tighter one counts; who was refused is not counted, who left makes room."""
    admission = Admission(Config(max_cnxns=3, max_client_cnxns=2))
    assert [admission.admit("a"), admission.admit("a"), admission.admit("a")] == [True, True, False]
    assert [admission.admit("b"), admission.admit("c")] == [True, False]
    assert admission.total == 3
    admission.leave("a")
    assert admission.admit("c")
    assert not admission.admit("a")
    for address in ("a", "b", "c"):
        admission.leave(address)
    assert admission.total == 0
    assert admission._by_address == {}


def test_without_limits_everybody_may() -> None:
    """0 is no limit, for both."""
    admission = Admission(Config(max_cnxns=0, max_client_cnxns=0))
    assert all(admission.admit("a") for _ in range(1000))


@pytest.mark.parametrize("keep_alive", [False, True])
def test_what_is_set_on_a_socket(keep_alive: bool) -> None:
    """No delays; and keep-alive where it is asked for."""
    with socket.socket() as sock:
        prepare_socket(sock, Config(client_tcp_keep_alive=keep_alive))
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is keep_alive


def test_a_socket_whose_peer_is_gone_already() -> None:
    """Some systems refuse to set anything on it.  That is its own affair: the first read will tell."""

    class Gone:
        def setsockopt(self, level: int, option: int, value: int, /) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    prepare_socket(Gone(), Config(client_tcp_keep_alive=True))

"""The four-letter words that operators and monitoring send instead of a handshake (``FourLetterCommands``).

Here is which words there are, who may use them, and those that answer in a word.  Longer answers are made
in ``fourletter_numbers``, ``fourletter_dumps`` and ``fourletter_machine``, each in Apache 3.9's shape, which
tools parse line by line.  Nothing is sent here: an answer is one piece of bytes, since kazoo receives once.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from .fourletter_dumps import dump, wchc, wchp, wchs, zxid_digests
from .fourletter_machine import FULL_VERSION, VERSION, conf, dirs, envi
from .fourletter_numbers import cons, mntr, remote_address, srvr, stat

if TYPE_CHECKING:
    from .connection import Connection
    from .service import Service

__all__ = ["DEFAULT_TRACE_MASK", "FULL_VERSION", "VERSION", "WORDS", "answer"]

logger = logging.getLogger("pyzkserver.fourletter")

DEFAULT_TRACE_MASK = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8
"""Client requests, server packets, sessions and warnings (``ZooTrace``): what gtmk says at first."""

_TELNET_CLOSE = b"\xff\xf4\xff\xfd"
"""What telnet sends when its user interrupts it: known, so that it is no broken client, and never granted."""


def _ruok(service: "Service", asker: "Connection") -> str:
    """Somebody is there.  Whether it serves, other words tell (``RuokCommand``)."""
    return "imok"


def _isro(service: "Service", asker: "Connection") -> str:
    return "ro" if service.replica.role.read_only else "rw"


def _gtmk(service: "Service", asker: "Connection") -> str:
    return str(service.trace_mask)


def _srst(service: "Service", asker: "Connection") -> str:
    service.statistics.reset()
    service.replica.role.reset_statistics()
    return "Server stats reset.\n"


def _crst(service: "Service", asker: "Connection") -> str:
    for connection in service.connections:
        connection.received = connection.sent = 0
        connection.latency.reset()
        connection.last_op = 0
        connection.last_xid = connection.last_zxid = -1
        connection.last_response_ms = connection.last_latency = 0
    return "Connection stats reset.\n"


def _set_trace_mask(service: "Service", argument: bytes) -> str:
    """stmk, the one word with an argument: a long.  It answers with what was set."""
    service.trace_mask = int.from_bytes(argument, "big", signed=True)
    logger.info("the trace mask is now 0x%x", service.trace_mask & (1 << 64) - 1)
    return str(service.trace_mask)


_NEED_NO_SERVER = frozenset({b"envi", b"gtmk", b"ruok", b"stmk"})


def _not_serving(word: bytes) -> str:
    """What the others say while nothing is served (``AbstractFourLetterCommand.ZK_NOT_SERVING``)."""
    if word == b"isro":
        return "null"
    text = "This ZooKeeper instance is not currently serving requests"
    return text if word == b"hash" else text + "\n"  # only DigestCommand ends without a line end


_ANSWERS: dict[bytes, Callable[["Service", "Connection"], str]] = {
    b"conf": conf,
    b"cons": cons,
    b"crst": _crst,
    b"dirs": dirs,
    b"dump": dump,
    b"envi": envi,
    b"gtmk": _gtmk,
    b"hash": zxid_digests,
    b"isro": _isro,
    b"mntr": mntr,
    b"ruok": _ruok,
    b"srst": _srst,
    b"srvr": srvr,
    b"stat": stat,
    b"wchc": wchc,
    b"wchp": wchp,
    b"wchs": wchs,
}

WORDS = frozenset({*_ANSWERS, b"stmk", _TELNET_CLOSE})
"""All that is taken for a four-letter word, granted or not."""


def answer(service: "Service", word: bytes, argument: bytes, asker: "Connection") -> bytes:
    """The whole answer to one of ``WORDS``.  ``argument`` is what followed it: eight bytes after stmk."""
    name = "telnet close" if word == _TELNET_CLOSE else word.decode("ascii")
    if name not in service.config.four_letter_words:
        logger.debug("refused the word %s to %s", name, remote_address(asker))
        return f"{name} is not executed because it is not in the whitelist.\n".encode()
    logger.debug("answering the word %s of %s", name, remote_address(asker))
    if not service.serving and word not in _NEED_NO_SERVER:
        text = _not_serving(word)
    elif word == b"stmk":
        text = _set_trace_mask(service, argument)
    else:
        text = _ANSWERS[word](service, asker)
    # A watched path that is no Unicode must not keep anybody from reading the rest.
    return text.encode("utf-8", "replace")

"""What happens when a rule for requests is hit: each kind of fault is a kind of rule.

They decide and count; moving bytes is the connection's business.
"""

import random
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final, Literal

from pyzkserver.errors import ErrorCode
from pyzkserver.serving.replies import reply_frame
from pyzkserver.testing.recording.exchange import Exchange

from .latches import Latches
from .rule import Limits, Rule, Target
from .sessions import expire_now
from .waits import Timer, Wait

if TYPE_CHECKING:
    from .connection import DisturbedConnection

__all__ = ["Delay", "Drop", "Expire", "Fail", "Garble", "Hold", "RequestRule", "Split", "When"]

When = Literal["before", "after"]
"""Whether a fault happens before or after the request was carried out."""

_LENGTH: Final = Struct(">i")
_HEADER_SIZE: Final = 20


class RequestRule(Rule):
    """A rule that looks at requests; it acts when one comes, or when it is to be answered."""

    def __init__(
        self,
        description: str,
        target: Target,
        limits: Limits,
        when: When = "before",
        *,
        may_miss: bool = False,
    ) -> None:
        super().__init__(description, target, limits, may_miss=may_miss)
        self.when = when

    def request(self, connection: "DisturbedConnection", asked: Exchange, go_on: Callable[[], None]) -> bool:
        """One that is to be hit came.  True if the server goes on with it; else ``go_on`` does, or nobody."""
        if self.when == "after":
            asked.fates.append(self)
            return True
        self.count(asked)
        self.before(connection, asked, go_on)
        return False

    def before(self, connection: "DisturbedConnection", asked: Exchange, go_on: Callable[[], None]) -> None:
        """Do it instead of what was asked."""
        raise NotImplementedError

    def reply(self, connection: "DisturbedConnection", asked: Exchange, frame: bytes) -> bytes | None:
        """It was carried out, and this is the answer.  What to send instead; None if that is taken care of."""
        if not self.active:
            return frame
        self.count(asked)
        return self.after(connection, asked, frame)

    def after(self, connection: "DisturbedConnection", asked: Exchange, frame: bytes) -> bytes | None:
        """Do it with the answer."""
        raise NotImplementedError


class Drop(RequestRule):
    """The connection is closed."""

    def before(self, connection: "DisturbedConnection", asked: Exchange, go_on: Callable[[], None]) -> None:
        connection.drop(asked, "dropped")

    def after(self, connection: "DisturbedConnection", asked: Exchange, frame: bytes) -> bytes | None:
        connection.drop(asked, "lost")
        return None


class Fail(RequestRule):
    """The request is answered with an error."""

    code: ErrorCode

    def before(self, connection: "DisturbedConnection", asked: Exchange, go_on: Callable[[], None]) -> None:
        connection.refuse_request(asked, self.code)

    def after(self, connection: "DisturbedConnection", asked: Exchange, frame: bytes) -> bytes | None:
        told = reply_frame(asked.xid, asked.zxid, self.code)
        connection.recording.answer(asked, told, asked.zxid, self.code)
        return told


class Expire(RequestRule):
    """The session of whoever asks expires."""

    def before(self, connection: "DisturbedConnection", asked: Exchange, go_on: Callable[[], None]) -> None:
        connection.give_up_on(asked, "dropped")
        expire_now(connection.replica, asked.session_id)

    def after(self, connection: "DisturbedConnection", asked: Exchange, frame: bytes) -> bytes | None:
        connection.give_up_on(asked, "lost")
        expire_now(connection.replica, asked.session_id)
        return None


class _Holding(RequestRule):
    """The request, or its answer, waits; and so does what the same client sends, or is sent, after it."""

    def wait(self, connection: "DisturbedConnection") -> Wait:
        """What it waits for."""
        raise NotImplementedError

    def before(self, connection: "DisturbedConnection", asked: Exchange, go_on: Callable[[], None]) -> None:
        connection.hold_back(asked, self.wait(connection), go_on)

    def after(self, connection: "DisturbedConnection", asked: Exchange, frame: bytes) -> bytes | None:
        connection.send_late(frame, asked, self.wait(connection))
        return None


class Delay(_Holding):
    """For a time."""

    seconds: float

    def wait(self, connection: "DisturbedConnection") -> Wait:
        return Timer(connection.service.host, self.seconds)


class Hold(Latches, _Holding):
    """Until it is released, by ``release`` or by the removal of the rule."""

    def wait(self, connection: "DisturbedConnection") -> Wait:
        return self._new_latch()


class Split(RequestRule):
    """The answer comes in pieces."""

    size: int
    interval: float

    def after(self, connection: "DisturbedConnection", asked: Exchange, frame: bytes) -> bytes | None:
        connection.send_in_pieces(frame, asked, self.size, self.interval)
        return None


class Garble(RequestRule):
    """The answer is not what a server sends."""

    how: Literal["body", "xid", "length", "cut"]
    seed: int

    def after(self, connection: "DisturbedConnection", asked: Exchange, frame: bytes) -> bytes | None:
        if self.how == "cut":
            connection.send_late(frame[: len(frame) // 2], None, None)
            connection.drop(asked, "lost")
            connection.deliver()
            return None
        if self.how == "length":
            return _LENGTH.pack(-2) + frame[4:]
        if self.how == "xid":
            return frame[:4] + _LENGTH.pack(asked.xid ^ 0x40000000) + frame[8:]
        noise = random.Random(self.seed + self.hits).randbytes(len(frame) - _HEADER_SIZE)
        return frame[:_HEADER_SIZE] + noise

"""A Host whose clocks a test can put forward."""

import trio

from pyzkserver.host import Host

__all__ = ["MovableHost"]


class MovableHost(Host):
    """The real machine, ``offset_ms`` later.  Whoever sleeps by this host's clock sleeps less when it is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.offset_ms = 0
        self._sleepers: dict[trio.CancelScope, None] = {}

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as far as this host knows."""
        return super().wall_ms() + self.offset_ms

    def elapsed_ms(self) -> int:
        """Milliseconds of a clock that only goes forward."""
        return super().elapsed_ms() + self.offset_ms

    async def sleep(self, seconds: float) -> None:
        """Wait, by the clock that can be moved."""
        with trio.move_on_after(seconds) as scope:
            self._sleepers[scope] = None
            try:
                await trio.sleep_forever()
            finally:
                del self._sleepers[scope]

    def shift(self, milliseconds: int) -> None:
        """Put the clocks forward.  Those whose sleep is over wake when the loop gets to them."""
        assert milliseconds >= 0
        self.offset_ms += milliseconds
        for scope in self._sleepers:
            scope.deadline -= milliseconds / 1000

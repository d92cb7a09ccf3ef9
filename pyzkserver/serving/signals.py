"""How another thread is heard of in an epoll: an event descriptor that it writes to."""

import os
import threading

__all__ = ["Signal"]


class Signal:
    """Calling it from any thread makes ``descriptor`` readable; once closed, a call does nothing.

    The lock is there for the end: a descriptor that was closed may be another file's by the time a late
    thread would write to it.
    """

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._open = True

    def __call__(self) -> None:
        with self._lock:
            if self._open:
                os.eventfd_write(self.descriptor, 1)

    def take(self) -> None:
        """Make it unreadable again."""
        os.eventfd_read(self.descriptor)

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock:
            self._open = False
            os.close(self.descriptor)

"""Length-prefixed frames out of a byte stream, and into one.  What is in a frame is not looked at."""

from struct import Struct
from typing import Final

from pyzkserver.errors import PyzkserverError

__all__ = ["DEFAULT_MAX_LENGTH", "FrameError", "FrameReader", "frame"]

# jute.maxbuffer, which is 1 MiB less one byte (BinaryInputArchive.maxBuffer).
DEFAULT_MAX_LENGTH: Final = 0xFFFFF

_LENGTH: Final = Struct(">i")
_unpack_length: Final = _LENGTH.unpack_from


class FrameError(PyzkserverError, ValueError):
    """A frame's length is negative or too large: the stream cannot be read on."""


def frame(payload: bytes) -> bytes:
    """A frame's bytes: a 32-bit length, then the payload."""
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Takes a stream in chunks as they come, and gives it back in frames.

    Whoever feeds it takes all complete frames before feeding it again; then it never holds more than one
    frame and one chunk, for a length beyond ``max_length`` (bytes, inclusive) is refused as soon as it is
    there.
    """

    __slots__ = ("_at", "_chunk", "max_length")

    def __init__(self, max_length: int = DEFAULT_MAX_LENGTH) -> None:
        self.max_length = max_length
        # The bytes before _at are given away.  A chunk that comes when all is given away, the usual case, is
        # kept as it is; only what a frame is cut by is gathered in a bytearray, whose both ends are cheap to
        # move.
        self._chunk: bytes | bytearray = b""
        self._at = 0

    @property
    def unread(self) -> int:
        """The number of bytes fed and not given away yet."""
        return len(self._chunk) - self._at

    def feed(self, data: bytes) -> None:
        """More of the stream."""
        if self._at == len(self._chunk):
            self._chunk = data
        else:
            if not isinstance(self._chunk, bytearray):
                self._chunk = bytearray(self._chunk)
            del self._chunk[: self._at]
            self._chunk += data
        self._at = 0

    def next_frame(self) -> bytes | None:
        """The next payload, or None if it is not complete yet.

        Raises FrameError for a length below 0 or above ``max_length``, and again whenever it is asked again.
        """
        chunk, start = self._chunk, self._at + 4
        if start > len(chunk):
            return None
        length: int = _unpack_length(chunk, start - 4)[0]
        if not 0 <= length <= self.max_length:
            raise FrameError(f"a frame of {length} bytes, where 0 to {self.max_length} are allowed")
        end = start + length
        if end > len(chunk):
            return None
        if end == len(chunk):
            self._chunk, self._at = b"", 0  # an idle connection holds on to nothing
        else:
            self._at = end
        return bytes(chunk[start:end])

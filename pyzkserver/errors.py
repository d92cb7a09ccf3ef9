"""ZooKeeper's error codes, and the exception that carries one.  Nothing else lives here.

The numbers are Apache's (``KeeperException.Code``); a reply header carries them as they are.
"""

from enum import IntEnum

__all__ = ["ConfigError", "ErrorCode", "PyzkserverError", "ZooKeeperError"]


class ErrorCode(IntEnum):
    """What a reply's ``err`` field may say (``org.apache.zookeeper.KeeperException.Code``)."""

    OK = 0
    SYSTEM_ERROR = -1
    RUNTIME_INCONSISTENCY = -2
    DATA_INCONSISTENCY = -3
    CONNECTION_LOSS = -4
    MARSHALLING_ERROR = -5
    UNIMPLEMENTED = -6
    OPERATION_TIMEOUT = -7
    BAD_ARGUMENTS = -8
    UNKNOWN_SESSION = -12
    NEW_CONFIG_NO_QUORUM = -13
    RECONFIG_IN_PROGRESS = -14
    API_ERROR = -100
    NO_NODE = -101
    NO_AUTH = -102
    BAD_VERSION = -103
    NO_CHILDREN_FOR_EPHEMERALS = -108
    NODE_EXISTS = -110
    NOT_EMPTY = -111
    SESSION_EXPIRED = -112
    INVALID_CALLBACK = -113
    INVALID_ACL = -114
    AUTH_FAILED = -115
    SESSION_MOVED = -118
    NOT_READ_ONLY = -119
    EPHEMERAL_ON_LOCAL_SESSION = -120
    NO_WATCHER = -121
    REQUEST_TIMEOUT = -122
    RECONFIG_DISABLED = -123
    SESSION_CLOSED_REQUIRE_SASL_AUTH = -124
    QUOTA_EXCEEDED = -125
    THROTTLED_OP = -127


class PyzkserverError(Exception):
    """The base of everything this package raises on purpose."""


class ZooKeeperError(PyzkserverError):
    """A request was refused: ``code`` says why, ``path`` which node it is about (or None)."""

    def __init__(self, code: ErrorCode, path: str | None = None) -> None:
        super().__init__(code, path)
        self.code = code
        self.path = path

    def __str__(self) -> str:
        return self.code.name if self.path is None else f"{self.code.name} for {self.path}"


class ConfigError(PyzkserverError, ValueError):
    """A configuration value cannot be used.  The message says where it stands, and what is allowed.

    Where Config found it, ``names`` are the keywords that it is about, and ``reason`` is the message without them.
    """

    def __init__(self, message: str, *, reason: str = "", names: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.names = names

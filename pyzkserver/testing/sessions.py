"""Whose session is meant: what users may name one by, and whether there is such a one."""

from collections.abc import Iterable
from typing import Any

from pyzkserver.state.sessions import SessionTable, to_signed
from pyzkserver.tools.forms import hex64

__all__ = ["check_sessions", "session_id_of", "session_ids_of"]


def session_id_of(whom: Any) -> int:
    """The id of a session: of a number, of a kazoo client, or of anything with a ``session_id``.

    Raises ValueError for a client that has none at the moment, TypeError for anything else.
    """
    if isinstance(whom, int) and not isinstance(whom, bool):
        return to_signed(whom)
    if hasattr(whom, "session_id"):
        return session_id_of(whom.session_id)
    if hasattr(whom, "client_id"):  # kazoo: (session id, password), and None between two connections
        session_id = whom.client_id[0] if whom.client_id is not None else getattr(whom, "_session_id", None)
        if not session_id:
            raise ValueError(f"{whom!r} has no session: it is not started, was stopped, or has lost it")
        return session_id_of(session_id)
    raise TypeError(f"{whom!r} is no session: name it by its id, a kazoo client, or what sessions() lists")


def session_ids_of(those: Any) -> list[int]:
    """The same of one or of several."""
    if isinstance(those, Iterable):
        return [session_id_of(whom) for whom in those]
    return [session_id_of(those)]


def check_sessions(ids: Iterable[int], sessions: SessionTable, elsewhere: Iterable[int] = ()) -> None:
    """Raise ValueError for a session that is neither in the table nor known elsewhere, or that is about to end."""
    for session_id in ids:
        session = sessions.by_id.get(session_id)
        if (session is None or session.closing) and session_id not in elsewhere:
            known = ", ".join(map(hex64, sessions.by_id)) or "none"
            raise ValueError(f"there is no session {hex64(session_id)}; there are {known}")

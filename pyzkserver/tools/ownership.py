"""Whose the files are that a tool makes: the server's, whoever ran the tool.

Tools are run by root more often than not, and servers are not.
"""

import os
from pathlib import Path

from .command import say

__all__ = ["be_like", "belong_to"]


def be_like(new: Path, old: Path, tool: str) -> None:
    """Give a file that is to take another one's place its permissions and its owner."""
    os.chmod(new, old.stat().st_mode & 0o777)
    belong_to(new, old, tool)


def belong_to(made: Path, like: Path, tool: str) -> None:
    """Give it the owner of something that is there.  Where that is not permitted, say so."""
    now, wanted = made.stat(), like.stat()
    if (now.st_uid, now.st_gid) == (wanted.st_uid, wanted.st_gid):
        return
    try:
        os.chown(made, wanted.st_uid, wanted.st_gid)
    except PermissionError:
        if now.st_uid != wanted.st_uid:
            say(
                tool,
                f"{made} belongs to you, and {like} to user {wanted.st_uid}: see that the server may write there",
            )

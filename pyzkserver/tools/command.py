"""How every tool is run, what it may say, and how it ends.  What a tool does is not known here."""

import errno
import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pyzkserver.errors import ConfigError, PyzkserverError

__all__ = ["DONE", "OF_OUTPUT", "UNUSABLE", "WRONG", "ToolError", "json_line", "note_place", "run", "say"]

DONE: Final = 0
WRONG: Final = 1
"""What was looked at is damaged, or what was asked for was refused."""
UNUSABLE: Final = 2
"""The words cannot be understood, or what they name cannot be read at all."""

OF_OUTPUT: Final = (errno.EPIPE, errno.ENOSPC)
"""Errors that come of printing, and not of what is read."""


class ToolError(PyzkserverError):
    """The tool cannot go on.  The message says what is wrong, where, and what to do."""

    def __init__(self, message: str, status: int = WRONG) -> None:
        super().__init__(message)
        self.status = status


def run(tool: str, words: Sequence[str]) -> int:
    """Run a tool with the words after its name; returns the exit status."""
    module = importlib.import_module(f"{__package__}.{tool}")
    try:
        status = int(module.main(words))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Whoever read the output (``head``) has seen enough.  Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except ToolError as error:
        say(tool, str(error))
        return error.status
    except PyzkserverError as error:
        say(tool, str(error))
        # A file that may not be read is not a damaged one, whoever told of it.
        unusable = isinstance(error, ConfigError) or isinstance(error.__cause__, OSError)
        return UNUSABLE if unusable else WRONG
    except OSError as error:
        say(tool, f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))
        return UNUSABLE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def note_place(error: BaseException, path: Path) -> None:
    """An error of a write says what is wrong, and not where: now it does."""
    if isinstance(error, OSError) and error.filename is None:
        error.filename = str(path)


def say(tool: str, message: str) -> None:
    """Something for people that is no part of the output."""
    sys.stdout.flush()
    print(f"pyzkserver {tool}: {message}", file=sys.stderr)


def json_line(fields: Mapping[str, Any]) -> str:
    """An object on a line of its own, in ASCII, so that it survives any terminal and locale."""
    return json.dumps(fields, separators=(", ", ": "))

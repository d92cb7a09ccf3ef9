"""The command ``pyzkserver``: a local server in a terminal, and a stand-in for Apache's QuorumPeerMain.

If its first word is the name of a tool, it is that tool, of which nothing is known here.
"""

import argparse
import io
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._version import __version__
from .errors import ConfigError, PyzkserverError

__all__ = ["main"]

_DESCRIPTION = """\
Starts a ZooKeeper server.  Without a zoo.cfg it listens on 127.0.0.1:2181 and keeps its data in memory.
The words that Apache's QuorumPeerMain takes mean the same here: [-Dkey=value …] zoo.cfg, or
PORT DATADIR [TICKTIME [MAXCNXNS]].

A local ensemble of several servers, each a process (see its --help):
  pyzkserver ensemble [N]

Tools for data directories, each with its own --help (a zoo.cfg of such a name is given as ./log):
  pyzkserver log FILE…                        prints, verifies and repairs transaction logs
  pyzkserver snapshot FILE…                   says what is in snapshots, and verifies them
  pyzkserver purge -n COUNT DATADIR|zoo.cfg   deletes old snapshots and logs
  pyzkserver dump DATADIR|zoo.cfg             writes everything as JSON or YAML
  pyzkserver restore FILE DATADIR             makes a data directory of that again
"""

_TOOLS = frozenset({"log", "snapshot", "purge", "dump", "restore"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 after a stop that was asked for, 2 for a configuration
    that cannot be used, 1 for what else keeps it from serving.  The tools have their own."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever the terminal's encoding is
    if arguments and arguments[0] in _TOOLS:
        from .tools import command

        return command.run(arguments[0], arguments[1:])
    if arguments and arguments[0] == "ensemble":
        from . import ensemble

        return ensemble.run(arguments[1:])
    options = _parse(arguments)
    _log_to_stderr(options)
    try:
        config = _configuration(options)
        from . import terminal

        terminal.run(config, quiet=options.quiet, until_eof=options.until_eof)
    except ConfigError as error:
        print(f"pyzkserver: {error}", file=sys.stderr)
        return 2
    except PyzkserverError as error:
        print(f"pyzkserver: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pyzkserver", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="zoo.cfg", help="a configuration file of Apache's")
    parser.add_argument(
        "-D", dest="properties", action="append", default=[], metavar="KEY=VALUE", help="as Java's -D"
    )
    parser.add_argument(
        "--host", metavar="ADDRESS", help="where to listen (127.0.0.1; 0.0.0.0 is everywhere)"
    )
    parser.add_argument(
        "--port", type=int, metavar="N", help="the client port (2181; 0 takes any that is free)"
    )
    parser.add_argument("--tick-time", type=int, metavar="MS", help="a tick in milliseconds (2000)")
    parser.add_argument(
        "--max-client-cnxns", type=int, metavar="N", help="connections from one address (60; 0: any)"
    )
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="log four-letter words, and what members lose, too"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="log only what is wrong")
    parser.add_argument(
        "--until-eof",
        action="store_true",
        help="stop when standard input ends: with a pipe, when whoever started the server is gone",
    )
    parser.add_argument("--version", action="version", version=f"pyzkserver {__version__}")
    return parser.parse_args(arguments)


def _log_to_stderr(options: argparse.Namespace) -> None:
    level = logging.WARNING if options.quiet else logging.DEBUG if options.verbose else logging.INFO
    logging.basicConfig(
        stream=sys.stderr,
        level=level,
        format="%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s",
        datefmt="%H:%M:%S",
    )


def _configuration(options: argparse.Namespace) -> Any:
    from .config import FOUR_LETTER_WORDS, load

    words: list[str] = options.words
    if "" in words:  # Path would take it for the current directory
        raise ConfigError("an empty word: is a variable of the shell not set?")
    overrides: dict[str, object] = {}
    zoo_cfg: Path | None = None
    if len(words) == 1:
        zoo_cfg = _zoo_cfg(words[0])
    elif words:
        overrides = _server_main_words(words)
    else:
        # A server for development: whoever can reach it may ask it anything.
        overrides["four_letter_words"] = FOUR_LETTER_WORDS
        overrides["extended_types_enabled"] = True
    for name, value in (
        ("client_port_address", options.host),
        ("client_port", options.port),
        ("tick_time", options.tick_time),
        ("max_client_cnxns", options.max_client_cnxns),
    ):
        if value is not None:
            overrides[name] = value
    properties = dict(_property(text) for text in options.properties)
    if zoo_cfg is None:
        given = {
            "zookeeper.4lw.commands.whitelist": "four_letter_words",
            "zookeeper.extendedTypesEnabled": "extended_types_enabled",
        }
        for key, name in given.items():
            if key in properties:
                overrides.pop(name, None)
    return load(zoo_cfg, properties, overrides)


def _zoo_cfg(word: str) -> Path:
    """The file of that name.  Raises ConfigError for what looks like something else, and is no file."""
    file = Path(word)
    if not file.exists():
        if word.isdecimal():
            raise ConfigError(
                f"{word}: a port alone is --port {word}; with a directory for the data, {word} DATADIR"
            )
        _refuse_misspelt(word)
    elif file.is_dir():
        raise ConfigError(
            f"{word} is a directory: name a zoo.cfg in it, or to keep the data there: pyzkserver 2181 {word}"
        )
    return file


def _refuse_misspelt(word: str) -> None:
    """Raises ConfigError for what was meant to be a command."""
    import difflib

    if meant := difflib.get_close_matches(word, [*_TOOLS, "ensemble"], n=1, cutoff=0.7):
        raise ConfigError(f"{word} is no file, and no command – did you mean {meant[0]}?")


def _property(text: str) -> tuple[str, str]:
    # As with Java, -Dkey alone gives the empty string.
    key, _, value = text.partition("=")
    return key, value


def _server_main_words(words: list[str]) -> dict[str, object]:
    """``PORT DATADIR [TICKTIME [MAXCNXNS]]`` (``ServerConfig.parse``)."""
    if not 2 <= len(words) <= 4:
        raise ConfigError(f"{len(words)} words: give a zoo.cfg, or PORT DATADIR [TICKTIME [MAXCNXNS]]")
    if not words[0].isdecimal():
        _refuse_misspelt(words[0])
    names = ("client_port", "tick_time", "max_client_cnxns")
    numbers = [words[0], *words[2:]]
    values: dict[str, object] = {"data_dir": Path(words[1])}
    for name, text in zip(names, numbers, strict=False):
        if not text.isdecimal():
            raise ConfigError(f"{text!r}: a number was expected in PORT DATADIR [TICKTIME [MAXCNXNS]]")
        values[name] = int(text)
    return values

"""A server in a terminal: says when it is ready and how to reach it, and stops when it is asked to."""

import gc
import logging
import os
import signal
import sys

import trio

from ._version import __version__
from .config import Config
from .server import RunningServer, serve

__all__ = ["how_to_stop", "run"]

logger = logging.getLogger("pyzkserver")


def run(config: Config, *, quiet: bool = False, until_eof: bool = False) -> None:
    """Serve until SIGINT or SIGTERM, or the end of standard input.  Raises what keeps the server from serving."""
    # Hundreds of thousands of nodes live long, and requests leave no cycles behind: look for them rarely.
    gc.set_threshold(50_000, 20, 100)
    try:
        trio.run(_serve, config, quiet, until_eof)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


async def _serve(config: Config, quiet: bool, until_eof: bool) -> None:
    # Heard before anything is opened, so that no signal finds the server half ready.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            if until_eof:
                nursery.start_soon(_stop_at_eof, nursery.cancel_scope)
            running: RunningServer = await nursery.start(serve, config)
            # What is here now stays: a collector that looks through a million znodes takes a third of a second.
            gc.freeze()
            if not quiet:
                _greet(_greeting(config, running))
            async for number in signals:
                logger.info("%s: stopping", signal.Signals(number).name)
                break
            nursery.cancel_scope.cancel()


async def _stop_at_eof(scope: trio.CancelScope) -> None:
    """Whoever holds the other end of the pipe need not live to say so."""
    while sys.stdin is not None:
        try:
            await trio.lowlevel.wait_readable(sys.stdin.fileno())
        except PermissionError:
            pass  # no pipe but a file, or /dev/null: there is nothing to wait for
        if not os.read(sys.stdin.fileno(), 4096):
            break
    logger.info("standard input has ended: stopping")
    scope.cancel()


def _greet(text: str) -> None:
    """Where nobody can read it the server serves all the same."""
    try:
        print(text, flush=True)
    except OSError as error:
        logger.warning("cannot write to standard output: %s", error.strerror)
        # What is left in the buffer would be tried again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def how_to_stop() -> str:
    """What stops a command that runs here; it may have no standard input at all."""
    return "Ctrl-C" if sys.stdin is not None and sys.stdin.isatty() else "SIGTERM"


def _greeting(config: Config, running: RunningServer) -> str:
    hosts = running.hosts
    kept = f"its data is in {config.data_dir}"
    if config.data_dir is None:
        kept = "its data is kept in memory and gone when it stops"
    where = hosts
    if running.service.address in ("0.0.0.0", "::", ""):
        where = f"{hosts}, and on all other addresses of this machine"
    return "\n".join(
        [
            f"pyzkserver {__version__} is ready on {where}; {kept}.",
            f'  kazoo:  KazooClient("{hosts}")',
            f"  zkCli:  zkCli.sh -server {hosts}",
            f"  stop:   {how_to_stop()}",
        ]
    )

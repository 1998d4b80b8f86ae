"""Ports of this machine: free ones, and who holds one that is taken."""

from __future__ import annotations

import errno
import socket

import psutil

from perennial import text as formatting
from perennial.errors import TerminalRequestError, TransientError

_SHOWN_CHARACTERS = 100


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refuse_taken(port: int) -> None:
    """Let a port of 127.0.0.1 through only if a server can have it.

    Whoever listens there would be taken for the server that could not start beside it.

    Raises:
        TransientError: It is taken; says by which process.
        TerminalRequestError: This user may not have it.
    """
    with socket.socket() as probe:
        is_taken = probe.connect_ex(("127.0.0.1", port)) == 0
    with socket.socket() as probe:
        # As servers do: what a connection of a minute ago leaves behind is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise TerminalRequestError(
                f"Port {port} is reserved for the system; choose one above 1023 with --port."
            ) from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            is_taken = True
    if is_taken:
        raise TransientError(f"Port {port} is taken by {_holder(port)}. Stop it, or choose another port with --port.")


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        connections = []
    pids = {
        connection.pid
        for connection in connections
        if connection.pid and connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    # The workers of a server share its port: the oldest is the one to stop.
    for pid in sorted(pids):
        try:
            process = psutil.Process(pid)
            program = formatting.escape_invisible(" ".join(process.cmdline()) or process.name())
        except psutil.Error:
            continue
        short = program if len(program) <= _SHOWN_CHARACTERS else f"{program[: _SHOWN_CHARACTERS - 1]}…"
        return f"process {pid} ({short})"
    return "a process that this user may not look at"

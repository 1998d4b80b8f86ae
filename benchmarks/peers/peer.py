"""What each peer can do, and the process in which it does so when it is asked; needs the standard library only.

A request is one line of JSON on standard input: `do` is the name of a method, the rest are its arguments.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

HALTED = 3600
MODULUS = 999_999_937


class Peer(Protocol):
    """A system with a table of interactions and an archive, both in one folder."""

    def open(self, home: Path) -> None:
        """Start it, or continue with what is in the folder."""

    def load(self, files: list[str], moved: int) -> None:
        """Load Parquet files into the table; sources with a number below `moved` will move."""

    def move_out(self, sources: list[str], pause: Callable[[], None]) -> None:
        """Move sources from the table to the archive; calls `pause` after each statement but the last."""

    def move_back(self, sources: list[str], pause: Callable[[], None]) -> None:
        """Move them from the archive back to the table."""

    def rows_seen(self) -> tuple[int, int, int]:
        """Return how many rows there are, the sum of their times in µs modulo `MODULUS`, and how many are archived."""

    def close(self) -> None:
        """Stop it in order."""


def serve(peer: Any) -> None:
    """Have a peer, or whatever else has methods, answer requests until standard input ends.

    The answers go to the descriptor in PEER_ANSWERS.
    """
    with os.fdopen(int(os.environ["PEER_ANSWERS"]), "w") as answers:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = _answer(peer, request, answers)
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers, flush=True)


def _answer(peer: Any, request: dict[str, Any], answers: Any) -> dict[str, Any]:
    name = request.pop("do")
    work = getattr(peer, name)
    if name in ("move_out", "move_back"):
        return _move(peer, work, answers, **request)
    if "home" in request:
        request["home"] = Path(request["home"])
    return {"result": work(**request)}


def _move(
    peer: Peer, work: Callable[..., None], answers: Any, sources: list[str], reading: bool = False, halt: int = 0
) -> dict[str, Any]:
    """Move; `halt` says after which statement to wait to be killed, `reading` that the rows are counted meanwhile.

    They are also counted between any two statements, or it were chance whether a query meets the moment.
    """
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1
        if pauses == halt:
            print(json.dumps({"halted": True}), file=answers, flush=True)
            threading.Event().wait(HALTED)
        if reading:
            _count(peer, seen)

    seen: list[Any] = []
    ended = threading.Event()
    reader = threading.Thread(target=_read, args=(peer, seen, ended), daemon=True)
    if reading:
        reader.start()
    work(sources, pause)
    ended.set()
    if reading:
        reader.join()
    return {"pauses": pauses, "seen": seen}


def _read(peer: Peer, seen: list[Any], ended: threading.Event) -> None:
    while not ended.is_set():
        _count(peer, seen)


def _count(peer: Peer, seen: list[Any]) -> None:
    try:
        seen.append(peer.rows_seen())
    except Exception as error:
        seen.append(f"failed with {type(error).__name__}")

"""Runs a piece of the main job in a process of its own and kills it, really, at a named point.

The processes are forked from a server that has everything imported, so a case costs no start-up.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perennial.settings import Settings
from perennial.warehouse import Warehouse

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.kill_preload"])


@dataclass(frozen=True)
class Point:
    """Where the process dies: before or after a call of `module:function`, or a commit of one step.

    Attributes:
        when: before or after.
        target: `module:function` as its caller sees it, `module:Class.method`, or `commit:<step>` for a table commit whose
            operation has this step.
        call: Which call of it, from 1.
    """

    when: str
    target: str
    call: int = 1

    def __str__(self) -> str:
        return f"{self.when}-{self.target.rpartition(':')[2].strip('_')}" + (f"-{self.call}" if self.call > 1 else "")


def run_and_kill(settings: Settings, point: Point, work: Callable[..., Any], *args: Any) -> None:
    """Run `work(warehouse, *args)` in a process that dies at the point; fail if it does not get there."""
    process = _context.Process(target=with_environment, args=(dict(os.environ), _run, settings, point, work, args))
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
        process.join()
        raise AssertionError(f"hung instead of dying at {point}")
    assert process.exitcode == -signal.SIGKILL, f"exit code {process.exitcode}: never came to {point}"


def with_environment(environment: dict[str, str], work: Callable[..., Any], *args: Any) -> Any:
    """Do some work as the caller would: the server that processes are forked from has an older environment."""
    os.environ.clear()
    os.environ |= environment
    return work(*args)


def forked(work: Callable[..., Any], *args: Any) -> Any:
    """Run `work(*args)` in a process of its own and return what it returned."""
    receiving, sending = _context.Pipe(duplex=False)
    process = _context.Process(target=_answer, args=(sending, with_environment, (dict(os.environ), work, *args)))
    process.start()
    sending.close()
    try:
        answer = receiving.recv()
    except EOFError:
        answer = RuntimeError("it ended without an answer")
    process.join(120)
    if isinstance(answer, Exception):
        raise answer
    return answer


def _answer(sending: Any, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        answer = work(*args)
    except Exception as error:
        answer = error
    sending.send(answer)


def _run(settings: Settings, point: Point, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    kind, _, name = point.target.partition(":")
    module = importlib.import_module("perennial.warehouse.commits" if kind == "commit" else kind)
    owner, _, attribute = ("" if kind == "commit" else name).rpartition(".")
    attribute = attribute or "_commit"
    place = getattr(module, owner) if owner else module
    original = getattr(place, attribute)
    calls = 0

    def dying(*positional: Any, **named: Any) -> Any:
        nonlocal calls
        counts = kind != "commit" or name in positional[2].split(":")
        calls += counts
        dies = counts and calls == point.call
        if dies and point.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*positional, **named)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(place, attribute, dying)
    work(Warehouse(settings), *args)

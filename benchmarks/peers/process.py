"""A peer in a process of its own, which can be asked and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from benchmarks.peers.entries import Entry

ROOT = Path(__file__).parents[2]
Asked = TypeVar("Asked", bound="AskedProcess")


class AskedProcess:
    """A module that answers requests (`peer.serve`) in a process of its own, with all that it starts."""

    def __init__(self, python: Path, module: str, *arguments: str, log: Path, **environment: str) -> None:
        receiving, answering = os.pipe()
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(python), "-m", module, *arguments],
                cwd=ROOT,
                env=os.environ | environment | {"PEER_ANSWERS": str(answering)},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[answering],
            )
        os.close(answering)
        self._answers = os.fdopen(receiving)

    def send(self, work: str, **arguments: Any) -> None:
        self.process.stdin.write(json.dumps({"do": work, **arguments}).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, work: str, **arguments: Any) -> Any:
        """Ask for something and wait for the answer."""
        self.send(work, **arguments)
        return self.answer()

    def answer(self) -> Any:
        line = self._answers.readline()
        answer = json.loads(line) if line else {"error": "it ended without an answer"}
        if "error" in answer:
            raise RuntimeError(f"{answer['error']}\n{self.log.read_text()[-1000:]}")
        return answer.get("result", answer)

    def kill(self) -> None:
        """Kill it and all that it has started, as a machine that fails would."""
        root = psutil.Process(self.process.pid)
        for process in (root, *root.children(recursive=True)):
            process.send_signal(signal.SIGKILL)
        self._end()

    def close(self) -> None:
        self.ask("close")
        self._end()

    def _end(self) -> None:
        self.process.stdin.close()
        self.process.wait(60)
        self._answers.close()


class PeerProcess(AskedProcess):
    """A peer over what is in its folder."""

    def __init__(self, entry: Entry, home: Path) -> None:
        module, folder = f"benchmarks.peers.{entry.module}", str(entry.folder())
        log = home.with_suffix(".log")
        super().__init__(entry.python(), module, *entry.arguments, log=log, PEER_ENVIRONMENT=folder)
        self.ask("open", home=str(home))


@contextmanager
def running(entry: Entry, home: Path) -> Iterator[PeerProcess]:
    """Run a peer over what is in its folder; whatever happens, nothing of it survives."""
    with ending(PeerProcess(entry, home)) as peer:
        yield peer


@contextmanager
def ending(peer: Asked) -> Iterator[Asked]:
    """Close a process when the block ends, or kill it if that fails."""
    try:
        yield peer
        if peer.process.poll() is None:
            peer.close()
    finally:
        if peer.process.poll() is None:
            peer.kill()

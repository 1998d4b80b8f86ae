"""A peer in a process of its own, which can be asked and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers.entries import Entry

ROOT = Path(__file__).parents[2]


class PeerProcess:
    """A peer in a process of its own, with all that it starts."""

    def __init__(self, entry: Entry, home: Path) -> None:
        receiving, answering = os.pipe()
        environment = os.environ | {"PEER_ANSWERS": str(answering), "PEER_ENVIRONMENT": str(entry.folder())}
        command = [str(entry.python()), "-m", f"benchmarks.peers.{entry.module}", *entry.arguments]
        self.log = home.with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[answering]
            )
        os.close(answering)
        self._answers = os.fdopen(receiving)
        self.ask("open", home=str(home))

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


@contextmanager
def running(entry: Entry, home: Path) -> Iterator[PeerProcess]:
    """Run a peer over what is in its folder; whatever happens, nothing of it survives."""
    peer = PeerProcess(entry, home)
    try:
        yield peer
        if peer.process.poll() is None:
            peer.close()
    finally:
        if peer.process.poll() is None:
            peer.kill()

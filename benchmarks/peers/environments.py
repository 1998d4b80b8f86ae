"""What peers need, by name and version, installed into `.tools/peers` and nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".tools" / "peers"


class MissingError(Exception):
    """A peer cannot be installed or started here; the text says in one line what is missing."""


def python_environment(name: str, *packages: str) -> Path:
    """Install packages of PyPI; returns the interpreter."""
    place = FOLDER / name
    python = place / "bin" / "python"
    if not (place / ".done").exists():
        uv = shutil.which("uv") or str(FOLDER.parent / "bin" / "uv")
        _run(uv, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", sys.executable, str(place))
        _run(uv, "pip", "install", "--quiet", "--python", str(python), *packages)
        (place / ".done").touch()
    return python


def debian_environment(name: str, *packages: str) -> Path:
    """Unpack packages of Debian without installing them; returns the folder."""
    place = FOLDER / name
    if not (place / ".done").exists():
        if not shutil.which("apt-get"):
            raise MissingError(f"apt-get, to fetch {' and '.join(packages)}")
        archives = place / "archives"
        archives.mkdir(parents=True, exist_ok=True)
        _run("apt-get", "download", *packages, folder=archives)
        for archive in archives.glob("*.deb"):
            _run("dpkg", "--extract", str(archive), str(place))
        (place / ".done").touch()
    return place


def _run(*command: str, folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(f"{command[-1]}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")

"""What runs beside the project and not inside it: engines and peers, each in an environment of its own below `.tools`.

`requirements/engines/NAME.txt` has packages of PyPI, `NAME.deb.txt` those of Debian, with versions and hashes;
`make lock` writes both. Debian's are unpacked, not installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".tools" / "engines"
LOCKED = ROOT / "requirements" / "engines"


class MissingError(Exception):
    """An environment cannot be made or started here; the text says in one line what is missing."""


def python_environment(name: str) -> Path:
    """Install the locked packages of `NAME.txt`; returns the interpreter that has them."""
    place, lock = FOLDER / name, LOCKED / f"{name}.txt"
    python = place / "bin" / "python"
    if not _is_made(place, lock):
        uv = shutil.which("uv") or str(FOLDER.parent / "bin" / "uv")
        _run(uv, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", sys.executable, str(place))
        # What builds a package that has no wheel is locked too.
        install = (uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--build-constraint", str(lock))
        _run(*install, "--python", str(python), "--requirement", str(lock))
        _note(place, lock)
    return python


def jars(name: str, *patterns: str) -> list[Path]:
    """Install `NAME.txt` and return the Java archives in it whose names match."""
    packages = python_environment(name).parents[1]
    return sorted(jar for pattern in patterns for jar in packages.glob(f"lib/*/site-packages/**/{pattern}"))


def debian_environment(name: str) -> Path:
    """Unpack the locked packages of `NAME.deb.txt`; returns the folder."""
    place, lock = FOLDER / name, LOCKED / f"{name}.deb.txt"
    if not _is_made(place, lock):
        packages = dict(line.split(" --hash=sha256:") for line in lock.read_text().splitlines())
        if not shutil.which("apt-get"):
            raise MissingError(f"apt-get, to fetch {' and '.join(packages)}")
        shutil.rmtree(place, ignore_errors=True)
        archives = place / "archives"
        archives.mkdir(parents=True)
        for package, digest in packages.items():
            _run("apt-get", "download", "--quiet", package, folder=archives)
            (archive,) = archives.glob(f"{package.partition('=')[0]}_*.deb")
            if hashlib.sha256(archive.read_bytes()).hexdigest() != digest:
                raise MissingError(f"{package} with the hash in {lock.relative_to(ROOT)}, which is of another file")
            _run("dpkg", "--extract", str(archive), str(place))
        _note(place, lock)
    return place


def java() -> str:
    """Return the Java that JAVA_HOME names, or else the one on PATH.

    Raises:
        MissingError: There is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None)
    if not found:
        raise MissingError("Java 17 (Debian, Ubuntu: apt-get install openjdk-17-jre-headless)")
    return found


def _is_made(place: Path, lock: Path) -> bool:
    made = place / ".made-of"
    return made.exists() and made.read_text() == lock.read_text()


def _note(place: Path, lock: Path) -> None:
    (place / ".made-of").write_text(lock.read_text())


def _run(*command: str, folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(f"{command[-1]}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")

"""An image built from `deploy/Dockerfile` without a registry, and commands in a container of it.

Debian's buildah builds it, each step in a chroot, on a base that mmdebstrap makes of Debian's own Python 3.11; it takes the
name of the one that the Dockerfile asks for. A command runs in namespaces of its own, as a container's does, with the
machine's network.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.environments import FOLDER, MissingError

from tests import PROJECT_ROOT

DOCKERFILE = PROJECT_ROOT / "deploy" / "Dockerfile"
PLACE = FOLDER / "deployment-image"
BASE = "docker.io/library/python:3.11-slim-bookworm"
# What the base has: what that image has, as Debian calls it.
PACKAGES = "ca-certificates,python3.11,python3.11-venv,python-is-python3"
MADE_OF = "perennial.made-of"

# The root of the file system, whether its home is empty as in a fresh container, and a command.
ENTER = """
mount --rbind /dev "$1/dev"
mount --types proc proc "$1/proc"
[ -z "$2" ] || mount --types tmpfs --options uid=50000,gid=0,mode=0770 tmpfs "$1$2"
exec chroot --userspec "$3" "$1" "${@:4}"
"""


@dataclass(frozen=True)
class Container:
    """A file system that belongs to an image, and what the image says about processes in it.

    Attributes:
        root: Where the file system is on this machine.
        environment: The image's variables, and HOME as a runtime sets it.
        entrypoint: What starts every command.
        user: Number of the user that commands run as.
        home: Their working directory.
    """

    root: Path
    environment: Mapping[str, str]
    entrypoint: tuple[str, ...]
    user: str
    home: str

    def command(self, *words: str, environment: Mapping[str, str] | None = None, empty_home: bool = False) -> list[str]:
        """Return the command that runs another one in the container.

        What it starts has one child, the first process of the container; when that is killed, so is every other.
        """
        variables = [f"{name}={value}" for name, value in {**self.environment, **(environment or {})}.items()]
        apart = ["unshare", "--mount", "--pid", "--fork", "bash", "-ec", ENTER, "enter"]
        place = [str(self.root), self.home if empty_home else "", f"{self.user}:0"]
        inside = ["env", "--ignore-environment", f"--chdir={self.home}", *variables, *self.entrypoint, *words]
        return [*apart, *place, *inside]

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(self.command(*words, **options), capture_output=True, text=True, check=False)


@contextmanager
def working_container() -> Iterator[Container]:
    """Build the image, unless it is there, and yield a container of it that is gone afterwards.

    Raises:
        MissingError: The image cannot be built here.
    """
    _require()
    image = _image()
    name = _buildah("from", "--pull-never", image)
    try:
        config = json.loads(_buildah("inspect", name))["OCIv1"]["config"]
        root = Path(_buildah("mount", name))
        shutil.copy("/etc/hosts", root / "etc" / "hosts")
        # As a runtime does: HOME is the user's of /etc/passwd.
        [home] = re.findall(rf"^[^:]+:x:{config['User']}:.*:(/[^:]*):", (root / "etc/passwd").read_text(), re.MULTILINE)
        variables = dict(variable.split("=", 1) for variable in config["Env"])
        yield Container(
            root, {"HOME": home, **variables}, tuple(config["Entrypoint"]), config["User"], config["WorkingDir"]
        )
    finally:
        _buildah("rm", name)


def _require() -> None:
    needed = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "unshare": "util-linux"}
    if missing := sorted(package for program, package in needed.items() if not shutil.which(program)):
        raise MissingError(f"{' and '.join(missing)} (Debian: apt-get install {' '.join(missing)})")
    if os.geteuid():
        raise MissingError("root, to make file systems and to change the user")


def _image() -> str:
    made_of = hashlib.sha256(b"".join(path.read_bytes() for path in _sources())).hexdigest()
    known = ""
    with suppress(MissingError):
        known = _buildah(
            "inspect", "--type", "image", "--format", f'{{{{index .OCIv1.Config.Labels "{MADE_OF}"}}}}', "perennial"
        )
    if known != made_of:
        _base()
        options = ["--pull-never", "--file", str(DOCKERFILE), "--ignorefile", f"{DOCKERFILE}.dockerignore"]
        volumes = [word for path in _pip_configuration() for word in ("--volume", f"{path}:ro")]
        _buildah("bud", *options, *volumes, "--label", f"{MADE_OF}={made_of}", "--tag", "perennial", str(PROJECT_ROOT))
    return "perennial"


def _sources() -> list[Path]:
    copied = " ".join(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)).split()
    found = [DOCKERFILE, *(PROJECT_ROOT / name for name in copied)]
    files = [path for each in found for path in ([each] if each.is_file() else sorted(each.rglob("*")))]
    return [path for path in files if path.is_file() and "__pycache__" not in path.parts]


def _base() -> None:
    with suppress(MissingError):
        _buildah("inspect", "--type", "image", BASE)
        return
    archive = PLACE / "base.tar"
    if not archive.exists():
        PLACE.mkdir(parents=True, exist_ok=True)
        _run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", f"{archive}.part")
        archive.with_name("base.tar.part").rename(archive)
    name = _buildah("from", "scratch")
    _buildah("add", name, str(archive), "/")
    _buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", name)
    _buildah("commit", "--rm", name, BASE)


def _pip_configuration() -> list[str]:
    """Return what a build is shown of this machine, so that pip finds packages where it does here: `PATH:PATH` each."""
    listed = _run(str(Path(sys.base_prefix, "bin", "python3")), "-m", "pip", "config", "list")
    settings = dict(re.findall(r"^(?:global|install|:env:)\.([\w-]+)='(.*)'$", listed, re.MULTILINE))
    PLACE.mkdir(parents=True, exist_ok=True)
    file = PLACE / "pip.conf"
    file.write_text("\n".join(("[global]", *(f"{name} = {value}" for name, value in settings.items()), "")))
    words = {word for value in settings.values() for word in value.split()}
    # An index on a disk has its files beside its pages.
    places = {str(Path(word[7:]).parent) if word.startswith("file:///") else word for word in words}
    there = sorted(place for place in places if place.startswith("/") and Path(place).exists())
    return [f"{place}:{target}" for place, target in ((file, "/etc/pip.conf"), *zip(there, there, strict=True))]


def _buildah(*words: str) -> str:
    place = ("--root", str(PLACE / "storage"), "--runroot", str(PLACE / "run"), "--storage-driver", "vfs")
    return _run("buildah", *place, *words)


def _run(*command: str) -> str:
    environment = os.environ | {"BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(f"{' '.join(command[:1])} to succeed, and it said: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()

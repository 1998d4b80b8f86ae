"""Ceph's S3 gateway (RGW) with a monitor and one OSD in memory, on free ports of 127.0.0.1, out of unpacked packages.

There is no manager: it reports on a cluster, and nothing that S3 answers depends on it.
"""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scripts.environments import debian_environment

from perennial_sample.ports import free_port
from tests.aws import KEY, SECRET, Aws
from tests.certificates import certificate

START_SECONDS = 120
CLASSES = ("STANDARD_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")
"""Storage classes besides STANDARD, which the gateway has only if its administrator declares them; all can be read."""

_CONFIGURATION = """[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
keyring = {home}/keyring
run dir = {home}
admin socket =
log file = {home}/$name.log
mon cluster log file =
mon data = {home}/mon
mon data avail crit = 1
mon data avail warn = 1
mon allow pool size one = true
osd data = {home}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd crush update on start = false
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd class dir = {libraries}/rados-classes
erasure code dir = {libraries}/ceph/erasure-code
plugin dir = {libraries}/ceph
rgw rados pool pg num min = 1
rgw enable apis = s3
rgw frontends = beast endpoint=127.0.0.1:{port} ssl_endpoint=127.0.0.1:{tls_port} ssl_certificate={certificate}
"""
_RIGHTS = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
    "client.rgw": {"mon": "allow rw", "osd": "allow rwx"},
}


@dataclass(frozen=True)
class Ceph(Aws):
    """A running gateway, used as the other S3 servers of the tests are.

    Attributes:
        tls: The same gateway over TLS.
        certificate: What it shows there, which is its own authority.
    """

    tls: Aws
    certificate: Path


@dataclass(frozen=True)
class _Cluster:
    """Where the programs are, and where one cluster has everything."""

    programs: Path
    home: Path

    @property
    def libraries(self) -> Path:
        return self.programs / "usr/lib/x86_64-linux-gnu"

    def run(self, program: str, *arguments: str) -> None:
        """Run a program to its end."""
        done = subprocess.run(self._command(program, *arguments), **self._options(), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stderr[-1000:]}")

    @contextmanager
    def running(self, program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program until the block ends."""
        with (self.home / f"{program}.out").open("ab") as output:
            command = self._command(program, *arguments)
            process = subprocess.Popen(command, **self._options(), stdout=output, stderr=output)
        try:
            yield process
        finally:
            # Its data is in memory, and nobody reads it any more.
            process.kill()
            process.wait(30)

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [str(self.programs / "usr/bin" / program), *arguments]

    def _options(self) -> dict[str, object]:
        paths = (self.libraries, self.libraries / "ceph", self.programs / "lib/x86_64-linux-gnu")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "CEPH_CONF": str(self.home / "ceph.conf"),
            "LD_LIBRARY_PATH": ":".join(map(str, paths)),
        }
        return {"cwd": self.home, "env": environment}


@contextmanager
def running_ceph(directory: Path) -> Iterator[Ceph]:
    """Serve until the block ends; the servers work in the directory, and their logs are there."""
    cluster = _Cluster(debian_environment("ceph"), directory)
    tls = Aws(f"https://127.0.0.1:{free_port()}")
    gateway = Ceph(f"http://127.0.0.1:{free_port()}", tls, certificate(directory))
    _prepare(cluster, gateway)
    with ExitStack() as stack:
        stack.enter_context(cluster.running("ceph-mon", "-f", "-i", "a"))
        cluster.run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", str(uuid.uuid4()))
        stack.enter_context(cluster.running("ceph-osd", "-f", "-i", "0"))
        _declare(cluster)
        server = stack.enter_context(cluster.running("radosgw", "-f", "-n", "client.rgw"))
        _wait(gateway, server, directory)
        yield gateway


def _prepare(cluster: _Cluster, gateway: Ceph) -> None:
    """Write the configuration, the keys, and the first maps with one monitor and one OSD."""
    fsid, mon_port = str(uuid.uuid4()), free_port()
    values = {
        "fsid": fsid,
        "home": cluster.home,
        "libraries": cluster.libraries,
        "mon_port": mon_port,
        "port": gateway.url.rpartition(":")[2],
        "tls_port": gateway.tls.url.rpartition(":")[2],
        "certificate": gateway.certificate,
    }
    (cluster.home / "ceph.conf").write_text(_CONFIGURATION.format_map(values))
    for number, (name, rights) in enumerate(_RIGHTS.items()):
        caps = [word for system, right in rights.items() for word in ("--cap", system, right)]
        cluster.run("ceph-authtool", "keyring", "--gen-key", "-n", name, *caps, *(["-C"] if number == 0 else []))
    cluster.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", "monmap")
    cluster.run("osdmaptool", "--createsimple", "1", "osdmap")
    for folder in ("mon", "osd"):
        (cluster.home / folder).mkdir()
    maps = ("--monmap", "monmap", "--osdmap", "osdmap", "--keyring", "keyring")
    cluster.run("ceph-mon", "-i", "a", "--mkfs", *maps)


def _declare(cluster: _Cluster) -> None:
    """Make the user and the storage classes, as an administrator does once."""
    place = ("--rgw-zonegroup", "default", "--placement-id", "default-placement")
    keys = ("--access-key", KEY, "--secret-key", SECRET)
    cluster.run("radosgw-admin", "user", "create", "--uid", KEY, "--display-name", KEY, *keys)
    for storage_class in CLASSES:
        name = ("--storage-class", storage_class)
        cluster.run("radosgw-admin", "zonegroup", "placement", "add", *place, *name)
        zone = ("--rgw-zone", "default", "--placement-id", "default-placement", "--data-pool", "default.rgw.cold.data")
        cluster.run("radosgw-admin", "zone", "placement", "add", *zone, *name)


def _wait(gateway: Aws, server: subprocess.Popen[bytes], directory: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(urllib.error.URLError), urllib.request.urlopen(gateway.url, timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError(f"Ceph's gateway did not come up; see the logs in {directory}")

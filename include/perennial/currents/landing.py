"""Files in the landing place: which are new, which have been unchanged long enough, what is in them."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from perennial.currents.avro import read_avro
from perennial.currents.fields import Records, records_of, unreadable
from perennial.currents.jsonlines import read_json_lines
from perennial.engines.duckdb import open_session
from perennial.settings import Settings
from perennial.statements import statement
from perennial.storage import StoredFile, storage_for
from perennial.tables import LOADED_FILES
from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

AVRO_ENDINGS = (".avro", ".avro.gz")
JSON_ENDINGS = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
# Endings of files that are unfinished, or that only describe another file.
PASSED_OVER = (".tmp", ".temp", ".part", ".partial", ".crc", ".inprogress", "._copying_", "~")
_EVENT_TYPE = re.compile(r"(?<=/event_type=)[^/]+(?=/)")


@dataclass(frozen=True)
class LandingFile:
    """A landing file as it was when it was listed.

    Attributes:
        stored: Address, size, modification time.
        known_before: Whether an earlier state of it has been loaded.
    """

    stored: StoredFile
    known_before: bool

    @property
    def uri(self) -> str:
        return self.stored.uri

    @property
    def event_type(self) -> str | None:
        """The event type in its path, if any."""
        found = _EVENT_TYPE.findall(self.uri)
        return found[-1] if found else None


def list_landing(settings: Settings) -> list[StoredFile]:
    """List the files in the landing place whose names say that they are finished.

    Names that begin with `.` or `_`, and those of unfinished files, are skipped.
    """
    prefix = landing_place(settings)
    return [stored for stored in storage_for(prefix).list_files(prefix) if is_landed(stored.uri)]


def landing_place(settings: Settings) -> str:
    """Return the address of the landing place; that of a file must not depend on how the setting spells it."""
    uri = settings.place("landing_uri")
    prefix = uri if "://" in uri else f"file://{settings.below_home(str(Path(uri).expanduser()))}"
    return prefix.rstrip("/")


def is_landed(uri: str) -> bool:
    """Whether the name of a file says that it is finished, and can be recorded."""
    name = uri.rpartition("/")[2]
    # A storage's own marker of a directory has no name.
    if not name or name.startswith((".", "_")) or name.lower().endswith(PASSED_OVER):
        return False
    try:
        uri.encode("utf-8")
    except UnicodeEncodeError:
        log.warning("%r is skipped: its name is not valid UTF-8 and cannot be recorded; rename it", uri)
        return False
    return True


def select_new(warehouse: Warehouse, listed: Sequence[StoredFile]) -> list[LandingFile]:
    """Return the files that no load has read in their current state, oldest first."""
    import pyarrow as pa

    if not listed:
        return []
    columns = {
        "file_uri": pa.array([stored.uri for stored in listed], pa.string()),
        "file_bytes": pa.array([stored.file_bytes for stored in listed], pa.int64()),
        "modified_at": pa.array([stored.modified_at for stored in listed], pa.timestamp("us", "UTC")),
    }
    with open_session(warehouse, [LOADED_FILES.name]) as connection:
        connection.register("landing_files", pa.table(columns))
        found = connection.execute(statement("load/select_new_files")).fetchall()
    return [
        LandingFile(StoredFile(uri, file_bytes, modified_at.astimezone(UTC)), known_before)
        for uri, file_bytes, modified_at, known_before in found
    ]


def wait_until_unchanged(
    files: Iterable[LandingFile], patience: timedelta
) -> tuple[list[LandingFile], list[LandingFile]]:
    """Wait once for files that have just been written.

    Returns:
        The files that have been unchanged long enough, and those that are still being written or have vanished.
    """
    ready, waiting = list(files), []
    started = datetime.now(UTC)
    young = {file.uri for file in ready if started - file.stored.modified_at < patience}
    if young:
        # With a clock ahead of this one a file looks young for ever, so watching it once for the whole time is enough.
        time.sleep(patience.total_seconds())
        waiting = [file for file in ready if file.uri in young and not is_unchanged(file)]
        ready = [file for file in ready if file not in waiting]
    for file in waiting:
        log.info("%s is still being written or has vanished; the next run tries again", file.uri)
    return ready, waiting


def is_unchanged(file: LandingFile) -> bool:
    """Whether a file is unchanged since it was listed."""
    now = storage_for(file.uri).stat(file.uri)
    # The storage class is not part of the content, and is unknown for files from `loaded_files`.
    return now is not None and (now.file_bytes, now.modified_at) == (file.stored.file_bytes, file.stored.modified_at)


def read_landing_file(file: LandingFile, decode: bool) -> Iterator[Records]:
    """Read a file in parts.

    Args:
        file: The file; its name determines the format.
        decode: False to count its records only.

    Raises:
        OSError: It cannot be read, or no longer exists.
    """
    name = file.uri.lower()
    with storage_for(file.uri).open(file.uri) as opened:
        if name.endswith(AVRO_ENDINGS):
            yield from read_avro(opened, decode, compressed=name.endswith(".gz"))
        elif name.endswith(JSON_ENDINGS):
            yield from read_json_lines(opened, name.endswith(".gz"), decode)
        else:
            yield _unknown_format(decode)


def _unknown_format(decode: bool) -> Records:
    """Return one rejected record for a file that cannot be loaded, so that a person sees it."""
    if not decode:
        return Records(1)
    endings = ", ".join((*AVRO_ENDINGS, *JSON_ENDINGS))
    reason = f"the ending of the file's name is unknown, so the file is not loaded; use one of {endings}"
    return records_of([unreadable(0, reason)])

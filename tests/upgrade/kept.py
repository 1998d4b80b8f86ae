"""A warehouse that an earlier version has left behind: everything that it holds, in one file.

Its tables, its archive, its landing place and its operations lie in buckets of fixed names, so that no address in it
depends on the machine, the user or the directory of a test. What is on disk (the catalog, the platform's database)
holds no path.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import perennial
from tests.aws import Aws
from tests.lake import KEY, REGION, SECRET

BUCKETS = ("upgrade-tables", "upgrade-archive", "upgrade-landing")
TABLES, ARCHIVE, LANDING = BUCKETS
EXPECTED = "expected.json"
# What stays the same whichever load or run has written it.
QUESTIONS = {
    "rows": "FROM interactions UNION ALL BY NAME FROM interactions_archive",
    "ledger": "FROM loaded_events",
    "stats": """
        SELECT source_id, stat_date, interaction, channel, sum(event_count)::BIGINT AS event_count
        FROM source_daily_stats
        GROUP BY ALL
    """,
    "summary": """
        SELECT user_id, measure, dimension, max(last_at) AS last_at, sum(event_count)::BIGINT AS event_count
        FROM user_message_summary
        GROUP BY ALL
    """,
}


def environment(connection: str, url: str, home: Path) -> dict[str, str]:
    """What this workspace is configured with, on a server of S3."""
    catalog = "PYICEBERG_CATALOG__PERENNIAL__"
    return {
        "AIRFLOW_CONN_AWS_DEFAULT": connection,
        "PERENNIAL_HOME": str(home),
        "PERENNIAL_LANDING_SETTLE_SECONDS": "0",
        "PERENNIAL_ARCHIVE_URI": f"s3://{ARCHIVE}/cold",
        "PERENNIAL_LANDING_URI": f"s3://{LANDING}/currents",
        f"{catalog}TYPE": "sql",
        f"{catalog}URI": f"sqlite:///{home}/catalog.db",
        f"{catalog}WAREHOUSE": f"s3://{TABLES}/warehouse",
        f"{catalog}S3__ENDPOINT": url,
        f"{catalog}S3__ACCESS_KEY_ID": KEY,
        f"{catalog}S3__SECRET_ACCESS_KEY": SECRET,
        f"{catalog}S3__REGION": REGION,
    }


def pack(aws: Aws, home: Path) -> dict[str, bytes]:
    """Take everything that a workspace holds, by its place: `disk/NAME` or `STORAGE_CLASS/BUCKET/KEY`."""
    found = {f"disk/{path.name}": path.read_bytes() for path in home.iterdir() if path.suffix == ".db"}
    for bucket in BUCKETS:
        for uri, stored in aws.objects(f"s3://{bucket}/").items():
            found[f"{stored.storage_class}/{uri.removeprefix('s3://')}"] = stored.value
    return found


def unpack(client: Any, home: Path, content: dict[str, bytes], cold: bool = False) -> None:
    """Put everything that a workspace held where it was; what was there goes.

    Args:
        client: Of a server of S3.
        home: Directory of what lies on disk.
        content: As `pack` returned it.
        cold: Whether the server has storage classes.
    """
    home.mkdir(parents=True, exist_ok=True)
    existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for bucket in BUCKETS:
        if bucket not in existing:
            client.create_bucket(Bucket=bucket)
        for key in keys(client, bucket):
            client.delete_object(Bucket=bucket, Key=key)

    def put(place: str) -> None:
        kind, bucket, key = place.split("/", 2)
        extra = {"StorageClass": kind} if cold else {}
        client.put_object(Bucket=bucket, Key=key, Body=content[place], ChecksumAlgorithm="SHA256", **extra)

    objects = [place for place in content if not place.startswith("disk/")]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, objects))
    for place in content.keys() - set(objects):
        (home / place.removeprefix("disk/")).write_bytes(content[place])


def keys(client: Any, bucket: str) -> list[str]:
    """The keys of everything in a bucket."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [found["Key"] for page in pages for found in page.get("Contents", ())]


def write_archive(path: Path, folders: dict[str, dict[str, bytes]]) -> None:
    """Write workspaces to one file, each in a folder; what they have in common takes its place once."""
    with tarfile.open(path, "w:xz", preset=9) as archive:
        # The same file of every folder together, for the compression to find.
        for place in sorted({place for content in folders.values() for place in content}):
            for folder, content in folders.items():
                if place in content:
                    member = tarfile.TarInfo(f"{folder}/{place}")
                    member.size = len(content[place])
                    archive.addfile(member, io.BytesIO(content[place]))


def read_archive(path: Path) -> dict[str, dict[str, bytes]]:
    """Read what `write_archive` wrote."""
    folders: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path, "r:xz") as archive:
        for member in archive:
            folder, _, place = member.name.partition("/")
            opened = archive.extractfile(member)
            assert opened is not None
            folders.setdefault(folder, {})[place] = opened.read()
    return folders


def rows_of(relation: str) -> Counter[str]:
    """Every whole row of a relation, with how often it is there; a column that a later version has added is null."""
    return answers({relation: relation})[relation]


def answers(questions: Mapping[str, str]) -> dict[str, Counter[str]]:
    """The rows of several relations, by their names, as they are at one moment."""
    parts = [
        f"SELECT '{name}' AS name, to_json(r)::VARCHAR AS row FROM ({sql}) AS r" for name, sql in questions.items()
    ]
    found: dict[str, Counter[str]] = {name: Counter() for name in questions}
    for answer in perennial.query(" UNION ALL ".join(parts)).to_pylist():
        row = {key: value for key, value in json.loads(answer["row"]).items() if value is not None}
        found[answer["name"]][json.dumps(row, sort_keys=True)] += 1
    return found


def counted(rows: list[tuple[str, int]]) -> Counter[str]:
    """Read the totals that an earlier version has written down."""
    return Counter(dict(rows))


def everything() -> dict[str, Any]:
    """The answers to every question, as they are written down."""
    return {question: sorted(rows.items()) for question, rows in answers(QUESTIONS).items()}

"""Lifecycle rules of buckets that delete or freeze files that this product needs, independently of runs (R8, M9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from perennial.errors import TerminalSettingError, TransientError
from perennial.storage import storage_for
from perennial.storage.s3_cold import COLD_CLASSES
from perennial.tables import TABLES
from perennial.text import pluralize
from perennial.warehouse import Warehouse
from perennial.warehouse.history import directories

_REMEDY = "Disable the rule, or give it a filter that excludes this location (deploy/README.md, Rules of the buckets)."


@dataclass(frozen=True)
class BucketRule:
    """A harmful rule.

    Attributes:
        bucket: The bucket it belongs to.
        name: Its id; empty where it has none.
        places: The addresses of this product to which it applies.
        harm: What it does to objects there, in words.
        remedy: What to do about it.
    """

    bucket: str
    name: str
    places: tuple[str, ...]
    harm: str
    remedy: str = _REMEDY


@dataclass(frozen=True)
class BucketRules:
    """The result of checking the rules of all buckets.

    Attributes:
        harmful: Rules that delete or freeze current objects.
        unseen: Buckets whose rules could not be read, with the reason.
    """

    harmful: tuple[BucketRule, ...]
    unseen: Mapping[str, str]


def find_harmful_rules(warehouse: Warehouse) -> BucketRules:
    """Read the rules of every bucket with tables, archived files, plans or records."""
    harmful: list[BucketRule] = []
    unseen: dict[str, str] = {}
    by_bucket: dict[str, list[str]] = {}
    for place in _places(warehouse):
        by_bucket.setdefault(urlsplit(place).netloc, []).append(place)
    for bucket, places in by_bucket.items():
        try:
            rules = storage_for(places[0]).lifecycle_rules(places[0])
        except (TerminalSettingError, TransientError, FileNotFoundError) as error:
            unseen[bucket] = str(error)
            continue
        for rule in rules:
            reached = tuple(place for place in places if _reaches(rule, place))
            harm = "; ".join(_harm(rule))
            if reached and harm:
                harmful.append(BucketRule(bucket, str(rule.get("ID", "")), reached, harm))
    return BucketRules(tuple(harmful), unseen)


def _places(warehouse: Warehouse) -> list[str]:
    """Addresses of directories in buckets, each once and none below another."""
    found = {warehouse.operations_uri()}
    for declared in TABLES:
        table = warehouse.table(declared.name)
        found |= {table.location().rstrip("/"), *(directory.uri.rstrip("/") for directory in directories(table))}
    remote = sorted(uri for uri in found if urlsplit(uri).netloc)
    return [uri for uri in remote if not any(uri.startswith(f"{other}/") for other in remote)]


def _reaches(rule: Mapping[str, Any], place: str) -> bool:
    """Whether a rule applies to objects below an address. This product's objects have no tags, and any size."""
    if rule.get("Status") != "Enabled":
        return False
    filtered = rule.get("Filter") or {}
    every = filtered.get("And", filtered)
    if every.get("Tag") or every.get("Tags"):
        return False
    prefix = str(every.get("Prefix") or rule.get("Prefix") or "")
    below = urlsplit(place).path.strip("/") + "/"
    return below.startswith(prefix) or prefix.startswith(below)


def _harm(rule: Mapping[str, Any]) -> Iterator[str]:
    expiration = rule.get("Expiration") or {}
    if when := _when(expiration):
        yield f"deletes objects {when}, so that interactions are lost without any run of this product"
    for transition in rule.get("Transitions") or ():
        if transition.get("StorageClass") in COLD_CLASSES:
            yield (
                f"moves objects to {transition['StorageClass']} {_when(transition) or 'at once'}, where they cannot be "
                "read before they are thawed (for archived files use PERENNIAL_ARCHIVE_STORAGE_CLASS, and for "
                "nothing else)"
            )


def _when(action: Mapping[str, Any]) -> str:
    if action.get("Days") is not None:
        return f"after {pluralize(int(action['Days']), 'day')}"
    return f"from {action['Date']:%Y-%m-%d} on" if action.get("Date") is not None else ""

"""Manifests whose entries are carried as bytes say what pyiceberg says of them, whoever wrote or reads them."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.avro.decoder import new_decoder
from pyiceberg.avro.encoder import BinaryEncoder
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriter,
    write_manifest,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import IntegerType, NestedField, StringType

from perennial.warehouse import entries
from perennial.warehouse.entries import BlockManifestWriter, CarriedFile, elsewhere, entries_of, without_metrics

IO = PyArrowFileIO()
SPARK = Path(__file__).parent / "data" / "spark-3.5-iceberg-1.10.2.avro"
SNAPSHOT, SEQUENCE = 7, 3
_IDS, _NUMBERS = st.integers(1, 2**31 - 1), st.integers(0, 2**63 - 1)
_COUNTS = st.none() | st.dictionaries(_IDS, _NUMBERS, max_size=4)
_BOUNDS = st.none() | st.dictionaries(_IDS, st.binary(max_size=20), max_size=4)
_LISTS = st.none() | st.lists(_NUMBERS, max_size=3)


def schema_of(required: bool, kind: Any = None) -> tuple[Schema, PartitionSpec]:
    schema = Schema(NestedField(6, "source_id", kind or StringType(), required=required))
    return schema, PartitionSpec(PartitionField(6, 1000, IdentityTransform(), "source_id"), spec_id=2)


@st.composite
def files(draw: Callable[..., Any], required: bool) -> DataFile:
    values = [DataFileContent.DATA, draw(st.text(max_size=20)), draw(st.sampled_from(list(FileFormat)))]
    values += [Record(draw(st.text(max_size=9) if required else st.none() | st.text(max_size=9)))]
    values += [draw(_NUMBERS), draw(_NUMBERS), *(draw(_COUNTS) for _ in range(4)), draw(_BOUNDS), draw(_BOUNDS)]
    values += [draw(st.none() | st.binary(max_size=9)), draw(_LISTS), draw(_LISTS), draw(st.none() | st.integers(0, 9))]
    return DataFile(*values)


@st.composite
def written(draw: Callable[..., Any]) -> tuple[bool, list[ManifestEntry]]:
    required = draw(st.booleans())
    found = []
    for file in draw(st.lists(files(required), min_size=1, max_size=7)):
        status = draw(st.sampled_from(list(ManifestEntryStatus)))
        # A file that is added has no number before its commit.
        numbers = [None, None] if status is ManifestEntryStatus.ADDED else [draw(_NUMBERS), draw(st.none() | _NUMBERS)]
        found.append(ManifestEntry(status, SNAPSHOT, *numbers, file))
    return required, found


def manifest(writer: ManifestWriter, listed: Sequence[ManifestEntry]) -> ManifestFile:
    """Write a manifest; returns what the manifest list says of it, once its commit has a number."""
    with writer:
        for entry in listed:
            writer.add_entry(entry)
    made = writer.to_manifest_file()
    made.sequence_number = SEQUENCE
    return made


def said(listed: Sequence[ManifestEntry]) -> list[list[Any]]:
    """All that entries say."""
    plain = [[*entry._data[:4], *entry.data_file._data, entry.data_file.spec_id] for entry in listed]
    return [[value._data if isinstance(value, Record) else value for value in values] for values in plain]


def summary(made: ManifestFile) -> list[Any]:
    """What the manifest list has of a manifest, but for its address and length."""
    return [*made._data[2:13], *map(str, made.partitions)]


@settings(max_examples=20, deadline=None)
@given(written())
def test_what_one_writes_the_other_reads_and_nothing_is_lost_on_the_way(
    given_entries: tuple[bool, list[ManifestEntry]],
) -> None:
    required, listed = given_entries
    schema, spec = schema_of(required)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # Blocks of several entries, one of which is not full.
        patch.setattr(entries, "BLOCK_ENTRIES", 3)
        places = iter([IO.new_output(f"file://{folder}/{number}.avro") for number in range(3)])
        by_pyiceberg = manifest(write_manifest(2, spec, schema, next(places), SNAPSHOT, "deflate"), listed)
        expected = said(by_pyiceberg.fetch_manifest_entry(IO, discard_deleted=False))
        carried = entries_of(by_pyiceberg, IO, discard_deleted=False)
        assert {type(entry.data_file) for entry in carried} == {CarriedFile}
        assert said(carried) == expected
        live = entries_of(by_pyiceberg, IO)
        assert said(live) == [one for one in expected if one[0] is not ManifestEntryStatus.DELETED]

        again = [
            ManifestEntry(new.status, *old._data[1:4], new.data_file) for new, old in zip(carried, listed, strict=True)
        ]
        for some in (listed, again):
            ours = manifest(BlockManifestWriter(spec, schema, next(places), SNAPSHOT, "deflate"), some)
            assert said(ours.fetch_manifest_entry(IO, discard_deleted=False)) == expected
            assert said(entries_of(ours, IO, discard_deleted=False)) == expected
            assert summary(ours) == summary(by_pyiceberg)
            assert records(ours) == records(by_pyiceberg)


def records(made: ManifestFile) -> list[Any]:
    with Path(made.manifest_path.removeprefix("file://")).open("rb") as file:
        return list(fastavro.reader(file))


@settings(max_examples=20, deadline=None)
@given(files(required=True))
def test_a_copy_elsewhere_has_the_same_metrics_and_a_removed_file_has_none(file: DataFile) -> None:
    schema, spec = schema_of(required=True)
    file.spec_id = 2
    with tempfile.TemporaryDirectory() as folder:
        place = IO.new_output(f"file://{folder}/1.avro")
        made = manifest(
            write_manifest(2, spec, schema, place, SNAPSHOT, "deflate"), [ManifestEntry(1, SNAPSHOT, 1, 1, file)]
        )
        (entry,) = entries_of(made, IO)
    for original in (entry.data_file, file):
        copied = elsewhere(original, "s3://b/copy.parquet", Record("z"), 9)
        known = [file.content, "s3://b/copy.parquet", file.file_format, ["z"]]
        assert said([ManifestEntry(1, 1, 1, 1, copied)]) == [[1, 1, 1, 1, *known, *file._data[4:15], None, 9]]
        removed = without_metrics(original)._data
        assert removed == [*file._data[:6], *[None] * 10]


def of_spark(path: Path = SPARK) -> ManifestFile:
    values = {"manifest_path": f"file://{path}", "manifest_length": path.stat().st_size, "partition_spec_id": 0}
    numbers = {"sequence_number": 2, "min_sequence_number": 1, "added_snapshot_id": 9}
    return ManifestFile.from_args(**values, **numbers, content=ManifestContent.DATA)


def test_entries_that_spark_wrote_are_carried_and_come_back_from_ours(tmp_path: Path) -> None:
    """They have a field more, sort order 0 and split offsets."""
    found = entries_of(of_spark(), IO, discard_deleted=False)
    assert {type(entry.data_file) for entry in found} == {CarriedFile}
    assert [entry.status.name for entry in found] == ["DELETED", "EXISTING", "EXISTING", "EXISTING"]
    expected = said(of_spark().fetch_manifest_entry(IO, discard_deleted=False))
    assert said(found) == expected

    schema, spec = schema_of(required=False)
    ours = manifest(
        BlockManifestWriter(spec, schema, IO.new_output(f"file://{tmp_path}/1.avro"), SNAPSHOT, "deflate"), found
    )
    back = ours.fetch_manifest_entry(IO, discard_deleted=False)
    assert [one[:-1] for one in said(back)] == [one[:-1] for one in expected]
    assert [one["data_file"]["lower_bounds"] for one in records(ours)] == [
        [{"key": key, "value": value} for key, value in entry.data_file.lower_bounds.items()] for entry in back
    ]


@pytest.mark.parametrize(("format_version", "kind"), [(1, StringType()), (2, IntegerType())])
def test_what_is_laid_out_in_another_way_is_read_by_pyiceberg(tmp_path: Path, format_version: Any, kind: Any) -> None:
    schema, spec = schema_of(required=True, kind=kind)
    file = DataFile(DataFileContent.DATA, "a", FileFormat.PARQUET, Record(None), 1, 2, *[None] * 10)
    file[3] = Record("a" if kind == StringType() else 5)
    place = IO.new_output(f"file://{tmp_path}/1.avro")
    made = manifest(
        write_manifest(format_version, spec, schema, place, SNAPSHOT, "deflate"),
        [ManifestEntry(1, SNAPSHOT, 1, 1, file)],
    )
    (entry,) = entries_of(made, IO)
    assert type(entry.data_file) is DataFile
    assert said([entry]) == said(made.fetch_manifest_entry(IO))
    assert without_metrics(entry.data_file).record_count == 1


def test_runs_that_say_their_bytes_are_stepped_over_and_decoded() -> None:
    """Avro lets a writer end a run anywhere, and say how many bytes it has after a negative length."""
    tail = io.BytesIO()
    encoder = BinaryEncoder(tail)
    number = encoder.write_int
    for value in (10, 20, 1, -2, 4, 1, 5, 2, 6, 1, 3, 7, 0, 0, 0, 0):
        number(value)
    for value in (1, -1, 4, 1):
        number(value)
    encoder.write_bytes(b"ab")
    for value in (1, 2):
        number(value)
    encoder.write_bytes(b"c")
    for value in (0, 0, 0, 1, -1, 1, 4, 0, 0, 1, 5):
        number(value)
    inner = new_decoder(tail.getvalue())

    assert entries._read_tail(inner) == (10, 20, None, 5)
    assert inner.tell() == len(tail.getvalue())
    file = CarriedFile(
        tail.getvalue(), DataFileContent.DATA, "a", FileFormat.PARQUET, Record("a"), 10, 20, None, 5, spec_id=0
    )
    assert file.column_sizes == {1: 5, 2: 6, 3: 7}
    assert (file.lower_bounds, file.split_offsets, file.sort_order_id) == ({1: b"ab", 2: b"c"}, [4], 5)


def test_a_damaged_manifest_is_an_error_and_an_entry_cannot_be_changed(tmp_path: Path) -> None:
    content = bytearray(SPARK.read_bytes())
    content[-1] ^= 1
    path = tmp_path / "damaged.avro"
    for wrong in (bytes(content), bytes(content[:-20])):
        path.write_bytes(wrong)
        with pytest.raises((ValueError, EOFError)):
            entries_of(of_spark(path), IO)
    file = entries_of(of_spark(), IO)[0].data_file
    with pytest.raises(TypeError, match="cannot be changed"):
        file[1] = "other"


def test_what_is_relied_on_was_checked_with_this_pyiceberg() -> None:
    """Look again before another version is used: the readers and writers of Avro, and what they are made of."""
    assert version("pyiceberg").startswith("0.12.")
    assert [field.name for field in entries._ENTRY] == [
        "status", "snapshot_id", "sequence_number", "file_sequence_number", "data_file",
    ]  # fmt: skip
    assert [field.name for field in entries._FILE] == [
        "content", "file_path", "file_format", "partition", "record_count", "file_size_in_bytes", "column_sizes",
        "value_counts", "null_value_counts", "nan_value_counts", "lower_bounds", "upper_bounds", "key_metadata",
        "split_offsets", "equality_ids", "sort_order_id",
    ]  # fmt: skip

"""Which columns a data file has under which field ids, from its footer, where manifests do not say enough.

DuckDB reads top-level columns by field id. It cannot find the columns of a file without field ids, for which the name
mapping of its table is needed, nor the fields of a struct that has changed since the file was written. Reading a footer
costs one request per file, so it is read only if one of the two is possible, and once per process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyiceberg.table import Table
from pyiceberg.table.name_mapping import MappedField
from pyiceberg.transforms import IdentityTransform

from perennial.errors import TerminalDataError
from perennial.warehouse.files import LiveFile
from perennial.warehouse.name_mappings import NAME_MAPPING, mapping_of, name_mapping

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.schema import Schema

_FIELD_ID = b"PARQUET:field_id"
# Names that `write_files` gives, and those of plain copies, which are what their originals were.
_OURS = re.compile(r"((?:compact|erase)-)?([0-9a-f]{32}|[0-9a-f]{64})-\d+\.parquet")
_COPY = re.compile(r"[0-9a-f]{64}\.parquet")
# What DuckDB calls a row's file and position.
_VIRTUAL = ("filename", "file_row_number")
_FOOTERS_AT_ONCE = 16
_CACHED_LAYOUTS = 200_000
_known: dict[str, tuple[FileColumn, ...]] = {}
_alike: dict[tuple[FileColumn, ...], tuple[FileColumn, ...]] = {}


@dataclass(frozen=True)
class FileColumn:
    """A column of a data file.

    Attributes:
        field_id: Its field id; None if neither the file nor a name mapping has one.
        name: Its name in the file.
        kind: Its type in the file.
        fields: Its nested fields: the element of a list, the key and the value of a map.
    """

    field_id: int | None
    name: str
    kind: str
    fields: tuple[FileColumn, ...] = ()

    @property
    def has_ids(self) -> bool:
        return self.field_id is not None or any(inside.has_ids for inside in self.fields)


@dataclass(frozen=True)
class FileLayout:
    """The layout shared by files that one statement reads.

    Attributes:
        columns: Their columns.
        partition: Values of columns that the files may leave out, because their partition has them, by field id.
        has_ids: Whether the files have field ids; if not, they come from a name mapping.
    """

    columns: tuple[FileColumn, ...]
    partition: tuple[tuple[int, Any], ...] = ()
    has_ids: bool = True


def laid_out(table: Table, live_files: Iterable[LiveFile], schema: Schema) -> dict[FileLayout | None, list[LiveFile]]:
    """Group data files by how they have to be read.

    Args:
        table: As loaded.
        live_files: Some of its files.
        schema: The columns that are to be read.

    Returns:
        Files by layout; None stands for files that are read by field id alone.

    Raises:
        TerminalDataError: Names a file that cannot be read correctly, and what to do.
    """
    mapping = name_mapping(table)
    nested = any(_is_nested(field.field_type) for field in schema.fields)
    places = table.location_provider().new_data_location(""), table.location().rstrip("/") + "/"
    groups: dict[FileLayout | None, list[LiveFile]] = {}
    looked_at = []
    for live in live_files:
        name = live.uri.rpartition("/")[2]
        # Writers of a table write field ids; files that were only registered are usually elsewhere.
        inside = live.uri.startswith(places) or _COPY.fullmatch(name)
        if not nested and (_OURS.fullmatch(name) or (inside and mapping is None)):
            groups.setdefault(None, []).append(live)
        else:
            looked_at.append(live)
    for live, columns in zip(looked_at, _footers(table, looked_at), strict=True):
        if any(column.has_ids for column in columns):
            layout = FileLayout(columns) if nested else None
            _refuse_halves(table, live, columns, mapping.root if mapping else ())
        elif mapping is None:
            raise TerminalDataError(
                f"File {live.uri} of table {table.name()[-1]} has no field ids, and the table has no name mapping, so "
                f"its columns cannot be identified. Set the table's property {NAME_MAPPING} again, for example to "
                f"{mapping_of(table.schema())} if the file's columns have the table's names."
            )
        else:
            _refuse_shadows(table, live, columns)
            layout = FileLayout(_named(table, live, columns, mapping.root), _partition(table, live), has_ids=False)
        groups.setdefault(layout, []).append(live)
    return groups


def columns_in_file(table: Table, live: LiveFile, schema: pa.Schema) -> dict[int, str | None]:
    """Return the top-level columns of which a data file has values: their names in the file by field id.

    Args:
        table: As loaded.
        live: One of its files.
        schema: The schema in the file's footer.

    Returns:
        The name is None where only the file's partition has the value.
    """
    columns = tuple(_file_column(field, field.name) for field in schema)
    if not any(column.has_ids for column in columns):
        mapping = name_mapping(table)
        columns = _named(table, live, columns, mapping.root if mapping else ())
    names: dict[int, str | None] = {field_id: None for field_id, _ in _partition(table, live)}
    return names | {column.field_id: column.name for column in columns if column.field_id is not None}


def _is_nested(kind: Any) -> bool:
    """Whether nested fields need a footer; lists of plain values are read as they are."""
    inner = getattr(kind, "element_type", kind)
    return not inner.is_primitive


def _footers(table: Table, live_files: Sequence[LiveFile]) -> Iterator[tuple[FileColumn, ...]]:
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        yield from pool.map(lambda live: _footer(table, live.uri), live_files)


def _footer(table: Table, uri: str) -> tuple[FileColumn, ...]:
    """Read which columns a file has. Files never change, so the result is cached."""
    import pyarrow.parquet as pq

    if (known := _known.get(uri)) is not None:
        return known
    with table.io.new_input(uri).open() as file:
        columns = tuple(_file_column(field, field.name) for field in pq.read_schema(file))
    if len(_known) > _CACHED_LAYOUTS:
        _known.clear()
    # Most files are alike; each layout is kept once.
    _known[uri] = columns = _alike.setdefault(columns, columns)
    return columns


def _file_column(field: pa.Field, name: str) -> FileColumn:
    import pyarrow as pa

    kind = field.type
    inside: list[tuple[pa.Field, str]] = []
    # Whatever names a file uses inside a list or map, the position identifies the field.
    if pa.types.is_map(kind):
        inside = [(kind.key_field, "key"), (kind.item_field, "value")]
    elif pa.types.is_struct(kind):
        inside = [(one, one.name) for one in kind]
    elif pa.types.is_nested(kind):
        inside = [(kind.value_field, "element")]
    field_id = (field.metadata or {}).get(_FIELD_ID)
    found = tuple(_file_column(one, called) for one, called in inside)
    return FileColumn(None if field_id is None else int(field_id), name, str(kind), found)


def _named(
    table: Table, live: LiveFile, columns: Iterable[FileColumn], mapped: Iterable[MappedField]
) -> tuple[FileColumn, ...]:
    """Identify the columns of a file without field ids by the name mapping."""
    by_name = {name: found for found in mapped for name in found.names}
    named: dict[int, FileColumn] = {}
    for column in columns:
        found = by_name.get(column.name)
        if found is None or found.field_id is None:
            continue
        if found.field_id in named:
            raise TerminalDataError(
                f"File {live.uri} of table {table.name()[-1]} has columns {named[found.field_id].name!r} and "
                f"{column.name!r}, which both get field id {found.field_id} from property {NAME_MAPPING}. Remove the "
                "wrong name from the property."
            )
        named[found.field_id] = FileColumn(
            found.field_id, column.name, column.kind, _named(table, live, column.fields, found.fields)
        )
    return tuple(named.values())


def _partition(table: Table, live: LiveFile) -> tuple[tuple[int, Any], ...]:
    spec = table.metadata.specs()[live.data_file.spec_id]
    return tuple(
        (field.source_id, live.data_file.partition[place])
        for place, field in enumerate(spec.fields)
        if isinstance(field.transform, IdentityTransform)
    )


def _refuse_shadows(table: Table, live: LiveFile, columns: Iterable[FileColumn]) -> None:
    """Refuse a file whose deleted rows cannot be identified, because one of its columns has a name DuckDB needs."""
    taken = next((column.name for column in columns if column.name.lower() in _VIRTUAL), None)
    if live.deletes and taken:
        raise TerminalDataError(
            f"File {live.uri} of table {table.name()[-1]} has no field ids, but a column {taken!r} and delete files: "
            "the deleted rows cannot be identified. Have the engine that deleted them rewrite the table's data files."
        )


def _refuse_halves(
    table: Table, live: LiveFile, columns: tuple[FileColumn, ...], mapped: Iterable[MappedField]
) -> None:
    """Refuse a file of which only some columns have ids while a name mapping knows the others: engines disagree."""
    ids = {column.field_id for column in columns}
    by_name: Mapping[str, int | None] = {name: found.field_id for found in mapped for name in found.names}
    for column in columns:
        meant = by_name.get(column.name)
        if column.field_id is None and meant is not None and meant not in ids:
            raise TerminalDataError(
                f"File {live.uri} of table {table.name()[-1]} has field ids, but none for column {column.name!r}, "
                f"which property {NAME_MAPPING} knows: engines read that as null, or as values. Have the engine that "
                "wrote the file rewrite it, or remove the name from the property if the column is to stay null."
            )

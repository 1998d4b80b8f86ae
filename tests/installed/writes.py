"""What Apache Spark does to a table as the other writer: each is statements that leave rows for which the target answers."""

from __future__ import annotations

from collections.abc import Callable

from perennial.tables import INTERACTIONS
from tests.installed.spark import CATALOG, ApacheSpark

Write = Callable[[ApacheSpark, str], None]
"""Given Spark and the name of a table."""
ROW = ", ".join(column.name for column in INTERACTIONS.columns)


def _sql(spark: ApacheSpark, name: str, *statements: str) -> None:
    """Run statements in which `{t}` stands for the table, `{p}` for what every procedure is called with."""
    table = spark.table(name)
    for statement in statements:
        spark.sql(statement.format(t=table, p=f"table => '{table.removeprefix(f'{CATALOG}.')}'", row=ROW, c=CATALOG))


def _call(spark: ApacheSpark, name: str, procedure: str, arguments: str = "") -> None:
    _sql(spark, name, f"CALL {{c}}.system.{procedure}({{p}}{arguments})")


def append(spark: ApacheSpark, name: str) -> None:
    """A row more of the source that moves; none if the table has none of it."""
    values = ROW.replace("event_id", "'spark#1'", 1)
    _sql(spark, name, f"INSERT INTO {{t}} ({{row}}) SELECT {values} FROM {{t}} WHERE event_id = 'old#3'")


def delete(spark: ApacheSpark, name: str) -> None:
    """Deletes by position, in two files."""
    _sql(
        spark,
        name,
        "ALTER TABLE {t} SET TBLPROPERTIES ('write.delete.mode' = 'merge-on-read')",
        "DELETE FROM {t} WHERE event_id IN ('old#4', 'old#15', 'running#2')",
    )


def change(spark: ApacheSpark, name: str) -> None:
    """An UPDATE, and a MERGE that updates, deletes and inserts; all by position."""
    values = ", ".join(f"s.{name}" for name in ROW.split(", ")).replace("s.event_id", "'spark#2'", 1)
    _sql(
        spark,
        name,
        "ALTER TABLE {t} SET TBLPROPERTIES ('write.update.mode' = 'merge-on-read', 'write.merge.mode' = 'merge-on-read', "
        "'write.delete.granularity' = 'partition')",
        "UPDATE {t} SET user_id = 'updated' WHERE event_id IN ('old#2', 'running#3')",
        "MERGE INTO {t} AS t USING (SELECT *, event_id = 'old#9' AS is_new FROM {t} WHERE event_id IN "
        "('old#5', 'old#6', 'old#9')) AS s ON t.event_id = s.event_id AND NOT s.is_new "
        "WHEN MATCHED AND t.event_id = 'old#5' THEN DELETE WHEN MATCHED THEN UPDATE SET user_id = 'merged' "
        f"WHEN NOT MATCHED THEN INSERT ({{row}}) VALUES ({values})",
    )


def binpack(spark: ApacheSpark, name: str) -> None:
    _call(spark, name, "rewrite_data_files", ", options => map('rewrite-all', 'true')")


def sort(spark: ApacheSpark, name: str) -> None:
    arguments = ", strategy => 'sort', sort_order => 'user_id DESC', options => map('rewrite-all', 'true')"
    _call(spark, name, "rewrite_data_files", arguments)


def manifests(spark: ApacheSpark, name: str) -> None:
    append(spark, name)
    _call(spark, name, "rewrite_manifests")


def position_deletes(spark: ApacheSpark, name: str) -> None:
    delete(spark, name)
    _sql(spark, name, "DELETE FROM {t} WHERE event_id IN ('old#1', 'old#11')")
    _call(spark, name, "rewrite_position_delete_files", ", options => map('rewrite-all', 'true')")


def expire(spark: ApacheSpark, name: str) -> None:
    """Forget everything but the newest snapshot."""
    append(spark, name)
    _forget(spark, name)


def binpack_and_expire(spark: ApacheSpark, name: str) -> None:
    """Replace the files, and forget the snapshot that says so."""
    binpack(spark, name)
    append(spark, name)
    _forget(spark, name)


def _forget(spark: ApacheSpark, name: str) -> None:
    now = spark.sql("SELECT date_format(current_timestamp(), 'yyyy-MM-dd HH:mm:ss.SSS')")[0][0]
    _call(spark, name, "expire_snapshots", f", older_than => TIMESTAMP '{now}', retain_last => 1")


def columns(spark: ApacheSpark, name: str) -> None:
    _sql(
        spark,
        name,
        "ALTER TABLE {t} ADD COLUMNS (note STRING, extra INT, gone STRING)",
        "UPDATE {t} SET note = 'n', extra = 7, gone = 'g' WHERE event_id IN ('old#2', 'running#3')",
        "ALTER TABLE {t} ALTER COLUMN extra TYPE BIGINT",
        "ALTER TABLE {t} RENAME COLUMN note TO remark",
        "ALTER TABLE {t} DROP COLUMN gone",
        "UPDATE {t} SET extra = 7000000000 WHERE event_id = 'old#2'",
    )


def partitions(spark: ApacheSpark, name: str) -> None:
    """Other partitionings, with rows in files of each; at the end by source and month."""
    _sql(
        spark,
        name,
        "ALTER TABLE {t} REPLACE PARTITION FIELD source_id WITH months(occurred_at)",
        "UPDATE {t} SET user_id = 'by month' WHERE event_id IN ('old#7', 'running#3')",
        "ALTER TABLE {t} ADD PARTITION FIELD source_id",
        "UPDATE {t} SET user_id = 'by both' WHERE event_id = 'old#8'",
    )


def branches(spark: ApacheSpark, name: str) -> None:
    """Rows on a branch are no rows of the table."""
    values = ROW.replace("event_id", "'branch#1'", 1)
    _sql(
        spark,
        name,
        "ALTER TABLE {t} CREATE OR REPLACE BRANCH theirs",
        f"INSERT INTO {{t}}.branch_theirs ({{row}}) SELECT {values} FROM {{t}} WHERE event_id = 'old#3'",
        "DELETE FROM {t}.branch_theirs WHERE event_id = 'old#4'",
        "ALTER TABLE {t} CREATE OR REPLACE TAG theirs_too",
    )


def audited(spark: ApacheSpark, name: str) -> None:
    """Write, audit, publish: rows enter a branch, and the table only when it is moved forward."""
    _sql(spark, name, "ALTER TABLE {t} SET TBLPROPERTIES ('write.wap.enabled' = 'true')")
    _sql(spark, name, "ALTER TABLE {t} CREATE OR REPLACE BRANCH audit", "SET spark.wap.branch = audit")
    append(spark, name)
    _sql(spark, name, "RESET spark.wap.branch", "ALTER TABLE {t} UNSET TBLPROPERTIES ('write.wap.enabled')")
    _call(spark, name, "fast_forward", ", branch => 'main', to => 'audit'")


WRITES: tuple[Write, ...] = (
    append,
    delete,
    change,
    binpack,
    sort,
    manifests,
    position_deletes,
    expire,
    binpack_and_expire,
    columns,
    partitions,
    branches,
    audited,
)

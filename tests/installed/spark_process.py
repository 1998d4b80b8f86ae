"""Apache Spark with Iceberg's runtime as a server of statements; runs in Spark's own environment, without the project."""

from __future__ import annotations

import base64
import json
import os
import pickle
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import serve
from benchmarks.peers.spark import catalog_settings, start_spark


class Statements:
    """Runs statements in a session with the catalog that was named last."""

    def open(self, home: Path) -> None:
        settings = json.loads(os.environ["SPARK_SETTINGS"])
        self.started = start_spark(home, settings["options"], settings["jars"], memory="2g")
        self.session = self.started

    def connect(self, name: str, options: dict[str, str]) -> None:
        """Begin a session of its own, for a session keeps the catalogs that it has opened."""
        self.session = self.started.newSession()
        for key, value in (catalog_settings(name, options) | {"spark.sql.defaultCatalog": name}).items():
            self.session.conf.set(key, value)

    def run(self, statement: str) -> list[Any]:
        """Run a statement; returns its rows, what JSON lacks as text."""
        rows = [list(row) for row in self.session.sql(statement).collect()]
        return json.loads(json.dumps(rows, default=str))

    def save(self, statement: str, path: str) -> None:
        """Run a query and write its rows to a folder of Parquet files."""
        self.session.sql(statement).write.parquet(path)

    def answer(self, statement: str, binds: str, path: str) -> None:
        """Run a query with binds, which are pickled because JSON has no dates, and write its rows in their order."""
        frame = self.session.sql(statement, args=pickle.loads(base64.b64decode(binds)))
        frame.coalesce(1).write.parquet(path)

    def upload(self, name: str, path: str) -> None:
        """Show a Parquet file under a name in the session."""
        self.session.read.parquet(path).createOrReplaceTempView(name)

    def remove_orphans(self, table: str, location: str, older_than_ms: int) -> None:
        """Call Iceberg's action, for the procedure of that name accepts no time within the last day."""
        jvm, session = self.session._jvm.org.apache, self.session._jsparkSession
        java = jvm.iceberg.spark
        # The session by which a name is looked up is the thread's.
        jvm.spark.sql.SparkSession.setActiveSession(session)
        action = java.actions.SparkActions.get(session).deleteOrphanFiles(
            java.Spark3Util.loadIcebergTable(session, table)
        )
        action.location(location).olderThan(older_than_ms).execute()

    def close(self) -> None:
        self.started.stop()


if __name__ == "__main__":
    serve(Statements())

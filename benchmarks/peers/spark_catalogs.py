"""How Apache Spark is told of catalogs: the embedded one in SQLite, and a REST catalog over S3."""

from __future__ import annotations

from tests.lake import KEY, REGION, SECRET, TABLES, Lake

from perennial.settings import Settings
from perennial.warehouse import catalog_file

# What Iceberg's S3FileIO needs of the AWS SDK for Java.
AWS = ("aws-jars", "*-2.29.26.jar", "eventstream-*.jar", "reactive-streams-*.jar", "httpclient-*.jar")


def embedded_catalog(settings: Settings) -> dict[str, str]:
    """Name the SQLite file of a workspace on this disk."""
    return {
        "catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
        "uri": f"jdbc:sqlite:{catalog_file(settings)}",
        "jdbc.schema-version": "V1",
        # Iceberg never closes its query for these tables, which would lock the file and read this moment for ever.
        "jdbc.init-catalog-tables": "false",
        "warehouse": f"file://{settings.home}/warehouse",
    }


def rest_catalog(lake: Lake) -> dict[str, str]:
    """Name the catalog and the S3 of a lake, with its keys."""
    return {
        "type": "rest",
        "uri": lake.catalog_url,
        "warehouse": TABLES,
        "prefix": TABLES,
        "credential": f"{KEY}:{SECRET}",
        "oauth2-server-uri": f"{lake.catalog_url}/v1/oauth/tokens",
        "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "s3.endpoint": lake.s3_url,
        "s3.path-style-access": "true",
        "s3.access-key-id": KEY,
        "s3.secret-access-key": SECRET,
        "client.region": REGION,
        "http-client.type": "apache",
    }

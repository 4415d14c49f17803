"""Append-only in the database too: what no verb does, no SQL does by mistake either."""

from typing import Any

TABLES = ("registry_auditevent", "registry_release", "registry_decision")

_POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION registry_append_only() RETURNS trigger AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END
$$ LANGUAGE plpgsql
"""


def install(connection: Any) -> None:
    """Refuse UPDATE, DELETE and (on PostgreSQL) TRUNCATE of the tables that are the record."""
    for statement in _statements(connection.vendor):
        with connection.cursor() as cursor:
            cursor.execute(statement)


def remove(connection: Any) -> None:
    for table in TABLES:
        for act in ("update", "delete", "truncate"):
            on = f" ON {table}" if connection.vendor == "postgresql" else ""
            with connection.cursor() as cursor:
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{act}{on}")


def _statements(vendor: str) -> list[str]:
    if vendor == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{act} BEFORE {act.upper()} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            for table in TABLES
            for act in ("update", "delete")
        ]
    if vendor == "postgresql":
        rows = [
            f"CREATE TRIGGER {table}_no_{act} BEFORE {act.upper()} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION registry_append_only()"
            for table in TABLES
            for act in ("update", "delete")
        ]
        whole = [
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION registry_append_only()"
            for table in TABLES
        ]
        return [_POSTGRES_FUNCTION, *rows, *whole]
    raise NotImplementedError(f"no append-only triggers for {vendor}")

"""What the database sees to itself: the record is append-only, and what decides about answers moves the change mark.

What no verb does, no SQL does by mistake either; and what a verb changes, every process comes to know.
"""

from typing import Any

TABLES = ("registry_auditevent", "registry_release", "registry_decision", "registry_admission")

_POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION registry_append_only() RETURNS trigger AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END
$$ LANGUAGE plpgsql
"""


def install(connection: Any) -> None:
    """Refuse UPDATE, DELETE and (on PostgreSQL) TRUNCATE of the tables that are the record, as far as they exist yet.

    Once more does no harm: each migration that adds such a table calls this again.
    """
    present = set(connection.introspection.table_names())
    for statement in _statements(connection.vendor, [table for table in TABLES if table in present]):
        with connection.cursor() as cursor:
            cursor.execute(statement)


def refuse_updates(connection: Any, *tables: str) -> None:
    """Rows of these tables may be made and (with what they belong to) deleted, and never changed."""
    act = (
        "EXECUTE FUNCTION registry_append_only()"
        if connection.vendor == "postgresql"
        else "BEGIN SELECT RAISE(ABORT, 'these rows never change'); END"
    )
    for table in tables:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} FOR EACH ROW {act}")


def allow_updates(connection: Any, *tables: str) -> None:
    for table in tables:
        on = f" ON {table}" if connection.vendor == "postgresql" else ""
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TRIGGER IF EXISTS {table}_no_update{on}")


def remove(connection: Any) -> None:
    for table in TABLES:
        for act in ("update", "delete", "truncate"):
            on = f" ON {table}" if connection.vendor == "postgresql" else ""
            with connection.cursor() as cursor:
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{act}{on}")


def _statements(vendor: str, tables: list[str]) -> list[str]:
    if vendor == "sqlite":
        return [
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_{act} BEFORE {act.upper()} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            for table in tables
            for act in ("update", "delete")
        ]
    if vendor == "postgresql":
        rows = [
            f"CREATE OR REPLACE TRIGGER {table}_no_{act} BEFORE {act.upper()} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION registry_append_only()"
            for table in tables
            for act in ("update", "delete")
        ]
        whole = [
            f"CREATE OR REPLACE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION registry_append_only()"
            for table in tables
        ]
        return [_POSTGRES_FUNCTION, *rows, *whole]
    raise NotImplementedError(f"no append-only triggers for {vendor}")


# --- the change mark ---

#: Tables whose rows decide who may ask which version, each with the column, if any, that moves with every use.
MARKED: dict[str, str] = {
    "registry_apikey": "last_used_at",
    "registry_apikey_only_models": "",
    "registry_user": "last_login",
    "registry_user_groups": "",
    "registry_rolegrant": "",
    "registry_registeredmodel": "",
    "registry_registeredmodel_owners": "",
    "registry_registeredmodel_groups": "",
    "registry_environment": "",
    "registry_release": "",
    "registry_modelversion": "",
}

_NEW_MARK = {
    "sqlite": "UPDATE registry_changemark SET mark = lower(hex(randomblob(16))) WHERE id = 1",
    "postgresql": "UPDATE registry_changemark SET mark = gen_random_uuid()::text WHERE id = 1",
}
_POSTGRES_MARK = f"""
CREATE OR REPLACE FUNCTION registry_mark_change() RETURNS trigger AS $$
BEGIN {_NEW_MARK["postgresql"]}; RETURN NULL; END
$$ LANGUAGE plpgsql
"""


def install_marks(connection: Any) -> None:
    """Put in place what is missing; after every `migrate`, for SQLite drops a table's triggers when it remakes it."""
    present = _present(connection)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_POSTGRES_MARK)
        for table, busy in MARKED.items():
            for act in ("insert", "update", "delete"):
                if f"{table}_marks_{act}" not in present:
                    cursor.execute(_marking(connection.vendor, table, act, busy))


def _present(connection: Any) -> set[str]:
    tables = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    }
    with connection.cursor() as cursor:
        cursor.execute(tables[connection.vendor])
        return {name for (name,) in cursor.fetchall()}


def _marking(vendor: str, table: str, act: str, busy: str) -> str:
    """On PostgreSQL at the very end of the transaction: the one row is locked for an instant, and after all others."""
    same = {"sqlite": "IS", "postgresql": "IS NOT DISTINCT FROM"}[vendor]
    unless_used = f"WHEN (NEW.{busy} {same} OLD.{busy})" if act == "update" and busy else ""
    name = f"{table}_marks_{act}"
    if vendor == "sqlite":
        return f"CREATE TRIGGER {name} AFTER {act} ON {table} {unless_used} BEGIN {_NEW_MARK[vendor]}; END"
    return (
        f"CREATE CONSTRAINT TRIGGER {name} AFTER {act} ON {table} DEFERRABLE INITIALLY DEFERRED "
        f"FOR EACH ROW {unless_used} EXECUTE FUNCTION registry_mark_change()"
    )

"""The database itself refuses to change or remove what is append-only, whoever asks: triggers on both databases."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A table and what is refused of it. A condition in SQL over OLD and NEW narrows that; empty: always."""

    table: str
    unique: tuple[str, ...]
    update_if: str = ""
    delete_if: str = ""

    def arm(self, vendor: str) -> Iterator[str]:
        """The statements that put the triggers on. They make an IntegrityError of Django's on both databases."""
        if vendor == "postgresql":
            yield REFUSE
            yield from (
                f"CREATE TRIGGER {name} BEFORE {operation} ON {self.table} FOR EACH ROW "
                f"{f'WHEN ({condition})' if condition else ''} EXECUTE FUNCTION orders_append_only()"
                for name, operation, condition in self._operations
            )
            yield (
                f"CREATE TRIGGER {self.table}_no_truncate BEFORE TRUNCATE ON {self.table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION orders_append_only()"
            )
        else:
            yield from (
                f"CREATE TRIGGER {name} BEFORE {operation} ON {self.table} {f'WHEN {condition}' if condition else ''} "
                f"BEGIN SELECT RAISE(ABORT, '{self.table} {REFUSAL_WORDS}: {operation} refused'); END"
                for name, operation, condition in (*self._operations, *self._replacing)
            )

    def disarm(self, vendor: str) -> Iterator[str]:
        of_table = f" ON {self.table}" if vendor == "postgresql" else ""
        yield from (f"DROP TRIGGER IF EXISTS {name}{of_table}" for name in self.triggers(vendor))

    def triggers(self, vendor: str) -> tuple[str, ...]:
        last = "truncate" if vendor == "postgresql" else "replace"
        return tuple(f"{self.table}_no_{operation}" for operation in ("update", "delete", last))

    @property
    def _operations(self) -> tuple[tuple[str, str, str], ...]:
        return (
            (f"{self.table}_no_update", "UPDATE", self.update_if),
            (f"{self.table}_no_delete", "DELETE", self.delete_if),
        )

    @property
    def _replacing(self) -> tuple[tuple[str, str, str], ...]:
        """SQLite's INSERT OR REPLACE removes a row without the trigger of DELETE."""
        same = " AND ".join(f"{column} = NEW.{column}" for column in self.unique)
        taken = f"EXISTS (SELECT 1 FROM {self.table} WHERE id = NEW.id OR ({same}))"  # noqa: S608
        return ((f"{self.table}_no_replace", "INSERT", taken),)


REFUSAL_WORDS = "is append-only"
REFUSE = f"""
CREATE OR REPLACE FUNCTION orders_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        MESSAGE = TG_TABLE_NAME || ' {REFUSAL_WORDS}: ' || TG_OP || ' refused', ERRCODE = 'restrict_violation';
END $$"""

SEALS = Guard(table="orders_auditseal", unique=("sequence",))
HEADS = Guard(table="orders_chainhead", unique=("id",), update_if="NEW.id <> OLD.id OR NEW.length <= OLD.length")
GUARDS = (
    Guard(table="orders_statustransition", unique=("link_id", "sequence")),
    Guard(table="orders_staffaction", unique=("sequence",)),
    SEALS,
    HEADS,
)


def trigger_faults(connection: BaseDatabaseWrapper) -> Iterator[str]:
    """The triggers that are not there as we put them on, and those that somebody else put on tables of ours."""
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        for guard in GUARDS:
            cursor.execute(ON_POSTGRESQL if is_postgresql else ON_SQLITE, [guard.table])
            found = {_plain(text) for text, body in cursor.fetchall() if not is_postgresql or body.strip() in REFUSE}
            for statement in guard.arm(connection.vendor):
                if statement != REFUSE and _plain(statement) not in found:
                    yield f"the trigger {statement.split()[2]} was removed, disabled or changed"
        ours = {(guard.table, name) for guard in GUARDS for name in guard.triggers(connection.vendor)}
        cursor.execute(FOREIGN_ON_POSTGRESQL if is_postgresql else FOREIGN_ON_SQLITE)
        for table, name, kind in cursor.fetchall():
            if table.startswith("orders_") and (table, name) not in ours:
                yield f"the {kind} {name} on {table} is not ours. It may change rows of the history or keep them out"
        if is_postgresql:
            cursor.execute("SHOW session_replication_role")
            if cursor.fetchone() != ("origin",):
                yield "session_replication_role switches all triggers off"


ON_SQLITE = "SELECT sql, '' FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s"
ON_POSTGRESQL = """
SELECT pg_get_triggerdef(pg_trigger.oid), prosrc FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE tgrelid = to_regclass(%s) AND tgenabled IN ('O', 'A')"""

# SQLite keeps the table's name as whoever made the trigger wrote it.
FOREIGN_ON_SQLITE = "SELECT lower(tbl_name), name, 'trigger' FROM sqlite_master WHERE type = 'trigger' ORDER BY 1, 2"
FOREIGN_ON_POSTGRESQL = """
SELECT relname, tgname, 'trigger' FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE NOT tgisinternal AND pg_table_is_visible(tgrelid)
UNION ALL SELECT relname, rulename, 'rule' FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
WHERE relkind IN ('r', 'p') AND pg_table_is_visible(ev_class)
UNION ALL SELECT relname, polname, 'policy' FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid
WHERE pg_table_is_visible(polrelid) ORDER BY 1, 2"""


def _plain(statement: str) -> str:
    """Each database writes it in its own way."""
    return re.sub(r"[\s()]", "", re.sub(r"\bon \w+\.", "on ", statement.lower()))

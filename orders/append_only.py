"""The database itself refuses to change or remove what is append-only, whoever asks: triggers on both databases."""

from collections.abc import Iterator
from dataclasses import dataclass


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
                f"CREATE TRIGGER {name} BEFORE {deed} ON {self.table} FOR EACH ROW "
                f"{f'WHEN ({condition})' if condition else ''} EXECUTE FUNCTION orders_append_only()"
                for name, deed, condition in self._deeds
            )
            yield (
                f"CREATE TRIGGER {self.table}_no_truncate BEFORE TRUNCATE ON {self.table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION orders_append_only()"
            )
        else:
            yield from (
                f"CREATE TRIGGER {name} BEFORE {deed} ON {self.table} {f'WHEN {condition}' if condition else ''} "
                f"BEGIN SELECT RAISE(ABORT, '{self.table} {WORDS}: {deed} refused'); END"
                for name, deed, condition in (*self._deeds, *self._replacing)
            )

    def disarm(self, vendor: str) -> Iterator[str]:
        of_table = f" ON {self.table}" if vendor == "postgresql" else ""
        yield from (f"DROP TRIGGER IF EXISTS {name}{of_table}" for name in self.triggers(vendor))

    def triggers(self, vendor: str) -> tuple[str, ...]:
        last = "truncate" if vendor == "postgresql" else "replace"
        return tuple(f"{self.table}_no_{deed}" for deed in ("update", "delete", last))

    @property
    def _deeds(self) -> tuple[tuple[str, str, str], ...]:
        return (
            (f"{self.table}_no_update", "UPDATE", self.update_if),
            (f"{self.table}_no_delete", "DELETE", self.delete_if),
        )

    @property
    def _replacing(self) -> tuple[tuple[str, str, str], ...]:
        """SQLite's INSERT OR REPLACE removes a row without the trigger of DELETE."""
        same = " AND ".join(f"{column} = NEW.{column}" for column in self.unique)
        taken = f"EXISTS (SELECT 1 FROM {self.table} WHERE id = NEW.id OR ({same}))"  # noqa: S608  names of ours
        return ((f"{self.table}_no_replace", "INSERT", taken),)


WORDS = "is append-only"
REFUSE = f"""
CREATE OR REPLACE FUNCTION orders_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        MESSAGE = TG_TABLE_NAME || ' {WORDS}: ' || TG_OP || ' refused', ERRCODE = 'restrict_violation';
END $$"""

SEALS = Guard(table="orders_auditseal", unique=("sequence",))
HEADS = Guard(table="orders_chainhead", unique=("id",), update_if="NEW.id <> OLD.id OR NEW.length <= OLD.length")
GUARDS = (
    Guard(table="orders_statustransition", unique=("link_id", "sequence")),
    Guard(table="orders_staffaction", unique=("sequence",)),
    SEALS,
    HEADS,
)

"""A large table changes in several ways at once. SQLite copies a table for most changes: so once, not for each."""

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class OneCopy(Operation):
    """Operations on one model, which add at most one field."""

    def __init__(self, name: str, operations: list[Operation]) -> None:
        self.name, self.operations = name, operations

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        for one in self.operations:
            one.state_forwards(app_label, state)

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        old = from_state.apps.get_model(app_label, self.name)
        new = to_state.apps.get_model(app_label, self.name)
        if schema_editor.connection.vendor == "sqlite":
            _copy(schema_editor, old, new)
            return
        for one, before, after in self._steps(app_label, from_state):
            one.database_forwards(app_label, schema_editor, before, after)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """`to_state` is that of before it."""
        for one, before, after in reversed(self._steps(app_label, to_state)):
            one.database_backwards(app_label, schema_editor, after, before)

    def _steps(self, app_label: str, state: ProjectState) -> list[tuple[Operation, ProjectState, ProjectState]]:
        steps = []
        for one in self.operations:
            before, state = state, state.clone()
            one.state_forwards(app_label, state)
            steps.append((one, before, state))
        return steps

    def describe(self) -> str:
        return f"Change {self.name}"


def _copy(editor: Any, old: Any, new: Any) -> None:
    known = {field.name: field for field in old._meta.local_concrete_fields}
    added = [field for field in new._meta.local_concrete_fields if field.name not in known]
    altered = [
        (known[field.name], field)
        for field in new._meta.local_concrete_fields
        if field.name in known and field.deconstruct()[3] != known[field.name].deconstruct()[3]
    ]
    was = old._meta.constraints, old._meta.indexes
    old._meta.constraints, old._meta.indexes = new._meta.constraints, new._meta.indexes
    try:
        editor._remake_table(old, create_field=added[0] if added else None, alter_fields=altered)
    finally:
        old._meta.constraints, old._meta.indexes = was

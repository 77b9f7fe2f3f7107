"""Who may do what, and the lifecycle: edited on Django's own pages or by a command, and recorded in the audit.

The signals see every way but SQL and `QuerySet.update`: forms, lists, bulk deletion, `createsuperuser`.
"""

import sys
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet
from django.db.models.signals import m2m_changed, post_save, pre_delete, pre_save
from simple_history.models import HistoricalRecords

from orders import audit
from orders.models import AllowedMove, StatusRule
from webhooks.masking import MASK

HIDDEN = ("password", "address")
"""That there is another one is all that is told of these."""
WATCHED: dict[type[Model], tuple[str, tuple[str, ...]]] = {
    User: ("user", ("username", "is_active", "is_staff", "is_superuser", "password")),
    Group: ("group", ("name",)),
    StatusRule: ("lifecycle", ("crm_status", "woo_status", "critical")),
    AllowedMove: ("lifecycle", ("from_status", "to_status")),
}
"""What each is called in the audit, and the fields that count."""
GRANT_TABLES = {
    User.groups.through: ("groups", "user_set"),
    User.user_permissions.through: ("user_permissions", "user_set"),
    Group.permissions.through: ("permissions", "group_set"),
}
"""What a user or a group has, and its name as seen from the other end."""
COMMANDS = ("manage.py", "django-admin")


def actor() -> str:
    """Who is at it; empty: neither somebody at a page nor a command, but code that was told to."""
    request = getattr(HistoricalRecords.context, "request", None)
    if request is not None:
        return request.user.get_username() or "nobody who signed in"
    return "command" if Path(sys.argv[0]).name in COMMANDS else ""


def record_edit(row: Model, action: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    if by := actor():
        kind, _ = WATCHED[type(row)]
        before, after = _without_password(before), _without_password(after)
        names = dict.fromkeys([*before, *after])
        result = "; ".join(f"{name}: {_words(before, name)} → {_words(after, name)}" for name in names)
        audit.record(f"{kind}: {action}", actor=by, result=f"{row}. {result}", row=row.pk, before=before, after=after)


def _without_password(side: dict[str, Any]) -> dict[str, Any]:
    return {name: MASK if name in HIDDEN else value for name, value in side.items()}


def _words(side: dict[str, Any], name: str) -> str:
    value = side.get(name, "")
    return (", ".join(value) if isinstance(value, list) else str(value)) or "nothing"


def _fields(row: Model) -> dict[str, Any]:
    """As JSON keeps them."""
    return {name: _plain(getattr(row, name)) for name in WATCHED[type(row)][1]}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | list) else str(value)


def remember_before(sender: type[Model], instance: Any, update_fields: frozenset[str] | None, **_: Any) -> None:
    """A sign-in writes its time only; and a new way of hashing the password that was given is no change of it."""
    written = set(WATCHED[sender][1]) & set(update_fields or WATCHED[sender][1])
    if update_fields is not None and set(update_fields) == {"password"} and instance._password is None:
        written = set()
    stored = sender._base_manager.filter(pk=instance.pk).first() if written and instance.pk else None
    instance._was = {name: value for name, value in _fields(stored).items() if name in written} if stored else {}


def saved(sender: type[Model], instance: Any, created: bool, **_: Any) -> None:
    now = _fields(instance)
    changed = [name for name in (now if created else instance._was) if instance._was.get(name) != now[name]]
    before = {name: instance._was[name] for name in changed if name in instance._was}
    after = {name: now[name] for name in changed}
    if changed:
        record_edit(instance, "add" if created else "change", before, after)


def deleted(sender: type[Model], instance: Any, **_: Any) -> None:
    """What it could do goes with it, so that is told, too."""
    had = _fields(instance)
    ends = [end for end, _ in GRANT_TABLES.values() if hasattr(instance, end)]
    held = {end: sorted(_names(getattr(instance, end).all())) for end in ends}
    record_edit(instance, "delete", had | held, {})


def granted(
    sender: type[Model], instance: Any, action: str, reverse: bool, model: type[Model], pk_set: Any, **_: Any
) -> None:
    """Told before it is done, in the transaction that does it. Seen from the other end, it changes several."""
    if action not in ("pre_add", "pre_remove", "pre_clear"):
        return
    end, other_end = GRANT_TABLES[sender]
    chosen = model._default_manager.filter(pk__in=pk_set) if pk_set is not None else None
    if reverse:
        owners = list(getattr(instance, other_end).all() if chosen is None else chosen)
        moved = _names(type(instance)._default_manager.filter(pk=instance.pk))
    else:
        owners = [instance]
        moved = _names(getattr(instance, end).all() if chosen is None else chosen)
    for owner in owners:
        before = _names(getattr(owner, end).all())
        after = before | moved if action == "pre_add" else before - moved
        if after != before:
            record_edit(owner, "change", {end: sorted(before)}, {end: sorted(after)})


def _names(rows: QuerySet[Any]) -> set[str]:
    if rows.model is Group:
        return set(rows.values_list("name", flat=True))
    return {f"{app}.{name}" for app, name in rows.values_list("content_type__app_label", "codename")}


def watch(model: type[Model]) -> None:
    """Each for its models alone: a receiver for all makes Django read whatever rows it deletes, and slows saves."""
    pre_save.connect(remember_before, sender=model)
    post_save.connect(saved, sender=model)
    pre_delete.connect(deleted, sender=model)


def also_watch(model: type[Model], kind: str, fields: tuple[str, ...]) -> None:
    """A table of an app above."""
    WATCHED[model] = (kind, fields)
    watch(model)


for watched in WATCHED:
    watch(watched)
for through in GRANT_TABLES:
    m2m_changed.connect(granted, sender=through)

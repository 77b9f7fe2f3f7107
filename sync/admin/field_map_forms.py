"""The form of one row of a field map. What is wrong is told at the field that has to be changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from sync.backoffice.field_maps import MOST_ROWS, Listed, Rows, digest, targets
from sync.backoffice.samples import Sample
from sync.clients.crm.base import Field
from sync.clients.mapping.field_map import LONGEST_EXPRESSION, BadRow, Row
from sync.clients.mapping.transforms import DATES, OTHERWISE, TYPE_NAMES, Transform, WrongValue

ORDER, TEXT, EXPRESSION = "order", "text", "expression"
TABS = {ORDER: "A field of the order", TEXT: "Always the same text", EXPRESSION: "Advanced: an expression"}
PATHS = ("path", "second", "third")
LETTERS = {"": "as they are", "upper": "all large", "lower": "all small"}
COMBINED = {"": "there is one value only", "first": "the first that is not empty", "join": "all of them, joined"}


def _text(label: str, words: str = "", **more: Any) -> forms.CharField:
    widget = UnfoldAdminTextInputWidget()
    return forms.CharField(label=label, help_text=words, required=False, max_length=500, widget=widget, **more)


def _area(label: str, words: str, rows: int, **more: Any) -> forms.CharField:
    widget = UnfoldAdminTextareaWidget(attrs={"rows": rows, "spellcheck": "false"})
    return forms.CharField(label=label, help_text=words, required=False, max_length=5000, widget=widget, **more)


def _choice(label: str, choices: Mapping[str, str], words: str = "") -> forms.ChoiceField:
    widget = UnfoldAdminSelectWidget()
    return forms.ChoiceField(label=label, help_text=words, required=False, choices=list(choices.items()), widget=widget)


class RowForm(forms.Form):
    """`tab` says where the value comes from. A row is tried on the sample order before it is saved."""

    def __init__(
        self,
        data: Any,
        *,
        tab: str,
        rows: Rows,
        listed: Listed,
        sample: Sample | None,
        instead_of: str = "",
    ) -> None:
        self.tab, self.rows, self.listed, self.sample, self.instead_of = tab, rows, listed, sample, instead_of
        known = next((one for one in rows if one["target"] == instead_of), None)
        was = Row.of(known) if known else None
        super().__init__(data, initial=_initial(was) if was else {})
        seen = digest(known) if known else ""
        self.fields["as_seen"] = forms.CharField(widget=forms.HiddenInput, required=False, initial=seen)
        self.fields["target"] = self._target(was)
        if not listed.fields:
            self.fields["kind"] = _choice("Its type", TYPE_NAMES, "What the field takes in the CRM.")
        for name, field in self._source().items():
            self.fields[name] = field
        self.fields["values"] = _area("Values", "One on each line, as bacs = Bank transfer. * = … is all others.", 3)
        self.fields["letters"] = _choice("Letters", LETTERS)
        self.fields["date"] = _choice("Date written as", {"": "as it is", **DATES})
        if tab != TEXT:
            self.fields["combined"] = _choice("Of several values", COMBINED)
            self.fields["separator"] = _text("Joined with", "As , or ; with its spaces.", strip=False)
        self.fields["cut"] = forms.IntegerField(
            label="Cut to", help_text="Characters. Empty: not cut.", required=False, min_value=1, max_value=99_999,
            widget=UnfoldAdminIntegerFieldWidget(),
        )  # fmt: skip
        self.fields["default"] = _text("If it is empty", "Sent instead. Empty: the CRM's field keeps what it has.")

    def _target(self, was: Row | None) -> forms.CharField:
        """A list of the CRM's fields; where it tells none, they are typed."""
        label, words = "Field of the CRM", "Those with a star are required there."
        if not self.listed.fields:
            return _text(label, "Its name, as the CRM's interface has it.")
        taken = set(targets(self.rows)) - {self.instead_of}
        free = [one for one in self.listed.fields if one.writable and one.name not in taken]
        choices = [("", "–"), *((one.name, described(one)) for one in free)]
        if was and was.target not in dict(choices):
            choices.append((was.target, f"{was.target}: not in the CRM's list"))
        widget = UnfoldAdminSelectWidget(choices=choices)
        return forms.CharField(label=label, help_text=words, required=False, max_length=200, widget=widget)

    def _source(self) -> dict[str, forms.Field]:
        if self.tab == TEXT:
            return {"constant": _text("Text", "Sent with every order.")}
        if self.tab == EXPRESSION:
            words = (
                f"JMESPath, at most {LONGEST_EXPRESSION} characters: line_items[?total != '0.00'].sku | join(', ', @)"
            )
            return {"expression": _area("Expression", words, 4)}
        offered = self.sample.paths() if self.sample else []
        known = {path: f"{path} – {value}" for path, value in offered}
        wanted = [value for name in PATHS if (value := str(self.initial.get(name, ""))) and value not in known]
        choices = {"": "–", **{path: path for path in wanted}, **known}
        labels = ("Field of the order", "Or else, or as well", "And a third")
        words = f"With its value in order {self.sample.number}." if self.sample else "No order has been seen yet."
        fields: dict[str, forms.Field] = {
            name: _choice(label, choices, words if name == PATHS[0] else "")
            for name, label in zip(PATHS, labels, strict=True)
        }
        fields["other"] = _text("Another field", "One that this order lacks, as meta._delivery_day or billing.company.")
        return fields

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean() or {}
        if self.errors:
            return said
        row = self._made(said)
        self._check_target(row.target)
        if self.errors:
            return said
        try:
            row.ensure_good()
            _ensure_fits(row)
            if self.sample:
                row.tried(self.sample.veiled)
        except BadRow as error:
            self.add_error(self._field_of(error.field), str(error))
        except WrongValue as error:
            number = self.sample.number if self.sample else ""
            self.add_error(self._field_of("source"), f"On order {number}: {error}.")
        self.row = row
        return said

    def _check_target(self, target: str) -> None:
        field = self.listed.named(target)
        if target and self.listed.fields and field is None:
            self.add_error("target", f"The CRM does not list a field {target!r}. Choose another, or ask the CRM anew.")
        elif field and not field.writable:
            self.add_error("target", f"{field.label} is read-only in the CRM. Choose another field.")
        elif target in set(targets(self.rows)) - {self.instead_of}:
            self.add_error("target", f"{target} is mapped already. Edit its row.")
        elif len(self.rows) >= MOST_ROWS and not self.instead_of:
            self.add_error("target", f"A map has at most {MOST_ROWS} fields. Remove one that is not needed.")

    def _made(self, said: Mapping[str, Any]) -> Row:
        field = self.listed.named(said["target"])
        paths = [said[name] for name in (*PATHS, "other") if said.get(name)]
        return Row(
            target=said["target"],
            label=field.label if field and field.label != field.name else "",
            kind=field.kind if field else said.get("kind") or "text",
            longest=field.longest if field else None,
            choices=field.choices if field else (),
            required=bool(field and field.required),
            paths=tuple(dict.fromkeys(paths)),
            constant=said.get("constant", ""),
            expression=said.get("expression", "").strip(),
            transforms=tuple(_transforms(said)),
            default=said["default"],
        )

    def _field_of(self, name: str) -> str:
        """Where the mistake is made on this tab."""
        own = {ORDER: PATHS[0], TEXT: "constant", EXPRESSION: "expression"}[self.tab]
        return name if name in self.fields else own


def _ensure_fits(row: Row) -> None:
    """What staff typed is known to be too long now. Raises BadRow."""
    if row.longest and row.constant and len(str(row.value({}))) > row.longest:
        raise BadRow("source", f"The field takes at most {row.longest} characters. Shorten the text, or cut it.")
    if row.longest and len(row.default) > row.longest:
        raise BadRow("default", f"The field takes at most {row.longest} characters. Shorten it.")


def described(field: Field) -> str:
    kind = TYPE_NAMES[field.kind]
    longest = f", at most {field.longest} characters" if field.longest else ""
    named = field.label if field.label == field.name else f"{field.label} ({field.name})"
    return f"{'* ' if field.required else ''}{named}: {kind}{longest}"


def _transforms(said: Mapping[str, Any]) -> list[Transform]:
    """In the order in which they are applied, whatever is chosen."""
    made = []
    if said["values"].strip():
        made.append(Transform(name="map", values=_values(said["values"])))
    if said["letters"]:
        made.append(Transform(name=said["letters"]))
    if said["date"]:
        made.append(Transform(name="date", argument=said["date"]))
    if combined := said.get("combined"):
        made.append(Transform(name=combined, argument=said["separator"] if combined == "join" else ""))
    if said["cut"]:
        made.append(Transform(name="cut", argument=str(said["cut"])))
    return made


def _values(lines: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in lines.splitlines() if "=" in line)
    return {old.strip(): new.strip() for old, _, new in pairs}


def _initial(row: Row) -> dict[str, Any]:
    by_name = {one.name: one for one in row.transforms}
    join, values = by_name.get("join"), by_name.get("map")
    return {
        "target": row.target,
        "kind": row.kind,
        **dict(zip((*PATHS, "other"), row.paths, strict=False)),
        "constant": row.constant,
        "expression": row.expression,
        "values": "\n".join(f"{old} = {new}" for old, new in _in_order(values.values)) if values else "",
        "letters": next((name for name in ("upper", "lower") if name in by_name), ""),
        "date": by_name["date"].argument if "date" in by_name else "",
        "combined": "join" if join else "first" if "first" in by_name else "",
        "separator": join.argument if join else "",
        "cut": by_name["cut"].argument if "cut" in by_name else "",
        "default": row.default,
    }


def _in_order(values: Mapping[str, str]) -> list[tuple[str, str]]:
    """Databases keep none of their own. What stands for all others is the last."""
    return sorted(values.items(), key=lambda pair: (pair[0] == OTHERWISE, pair[0]))


def tab_of(row: Mapping[str, Any]) -> str:
    return EXPRESSION if row.get("expression") else TEXT if row.get("constant") else ORDER


def said_of(rows: Sequence[Mapping[str, Any]], target: str) -> Mapping[str, Any] | None:
    return next((one for one in rows if one["target"] == target), None)

"""What the documents name is there, and the version is said in one place."""

import ast
import re
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest
from django.conf import settings
from django.core.management import get_commands
from django.utils.module_loading import import_string

from integration_site import __version__

ROOT = Path(__file__).parent.parent
CHANGELOG = ROOT / "CHANGELOG.md"
DOCUMENTS = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")} - {CHANGELOG})
"""The changelog may name what is gone."""
PACKAGES = ("sync", "orders", "webhooks", "integration_site")
PLACES = (*PACKAGES, "templates", "tests", "docs", "scripts", "deploy", ".ci")

PATH = re.compile(rf"(?<![\w/.:-])((?:{'|'.join(map(re.escape, PLACES))})/[\w./-]*[\w/])(?![\w*…{{])")
FILE = re.compile(r"`([\w-]+\.(?:py|toml|ini))`")
DOTTED = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)")
MEMBER = re.compile(r"`(\w+)\.(\w+)\b(?!/)")
TEST = re.compile(r"`(test_\w+)`")
TARGET = re.compile(r"(?:`|^    )make ([a-z][a-z-]*)", re.MULTILINE)
COMMAND = re.compile(r"manage\.py ([a-z_]+)")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
UNITS = {"orders/s"}
SUFFIXES = {"py", "json", "md", "html"}

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def named(pattern: re.Pattern[str], document: Path) -> list[str]:
    return sorted(set(pattern.findall(document.read_text())))


def named_pairs(document: Path) -> list[tuple[str, str]]:
    return sorted(set(MEMBER.findall(document.read_text())))


def path_is_there(name: str) -> bool:
    """A decision may be named by its number alone."""
    path = ROOT / name
    return path.exists() or any(path.parent.glob(f"{path.name}-*.md"))


def name_resolves(name: str) -> bool:
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@documents
def test_every_path_named_exists(document: Path) -> None:
    assert [name for name in named(PATH, document) if name not in UNITS and not path_is_there(name)] == []
    ours = {path.name for place in (".", *PLACES) for path in (ROOT / place).glob("*" if place == "." else "**/*")}
    assert set(named(FILE, document)) - ours == set()


@documents
def test_every_link_leads_somewhere(document: Path) -> None:
    assert [link for link in named(LINK, document) if not (document.parent / link).exists()] == []


@documents
def test_every_dotted_name_resolves(document: Path) -> None:
    assert [name for name in named(DOTTED, document) if "NAME" not in name and not name_resolves(name)] == []


@documents
def test_what_is_named_of_a_module_stands_in_it(document: Path) -> None:
    """`decide.forced`: the module is named without its package."""
    sources = {
        module: [
            path.read_text()
            for package in PACKAGES
            for path in (ROOT / package).rglob(f"{module}.py")
            if path.parent.name != "commands"
        ]
        for module, _ in named_pairs(document)
    }
    missing = [
        f"{module}.{name}"
        for module, name in named_pairs(document)
        if name not in SUFFIXES
        and (module, name) != ("http", "client")
        and sources[module]
        and not any(re.search(rf"\b{name}\b", text) for text in sources[module])
    ]
    assert missing == []


@documents
def test_every_test_named_exists(document: Path) -> None:
    if names := named(TEST, document):
        tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
        assert [name for name in names if f"def {name}(" not in tests] == []


@documents
def test_every_command_typed_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(named(TARGET, document)) <= targets
    assert set(named(COMMAND, document)) <= set(get_commands())


PROSE = [*DOCUMENTS, CHANGELOG]


@pytest.mark.parametrize("document", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_line_of_prose_is_longer_than_120(document: Path) -> None:
    """Tables and code cannot be broken."""
    prose = re.sub(r"^```.*?^```|^(?: {4,}|\|)[^\n]*", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > 120] == []


def test_the_layers_are_those_that_lint_keeps() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (kept,) = (
        one["layers"] for one in project["tool"]["importlinter"]["contracts"] if one.get("containers") == ["sync"]
    )
    table = (ROOT / "docs" / "architecture.md").read_text().split("| layer | holds |")[1].split("\n\n")[0]
    shown = [set(re.findall(r"`sync/(\w+)[/.]", row.split("|")[1])) for row in table.splitlines()[2:]]
    assert shown == [set(layer.split(" | ")) for layer in kept]


def test_the_version_is_said_in_one_place() -> None:
    """In the code, as a container may lack `pyproject.toml`, and nothing installs the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert import_string(project["tool"]["setuptools"]["dynamic"]["version"]["attr"]) == __version__
    assert settings.SPECTACULAR_SETTINGS["VERSION"] == __version__


def test_the_changelog_begins_with_this_version() -> None:
    sections = re.findall(r"^## \[(.+?)\] - (.+)$", CHANGELOG.read_text(), re.MULTILINE)
    assert sections[0][0] == __version__
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for _, date in sections[1:])
    parts = re.split(r"^## ", CHANGELOG.read_text(), flags=re.MULTILINE)[1:-1]
    assert all("### Upgrade notes" in part for part in parts)


NAMED_ELSEWHERE = {
    "sync/jobs/reconciliation.py": {"sweep", "left_out"},
    "sync/monitoring/shop_webhooks.py": {"webhook"},
    "sync/monitoring/subscriptions.py": {"subscription"},
    "sync/notifications/rounds.py": {"notify"},
    "sync/pipeline/doubts.py": {"whose"},
    "sync/monitoring/lasting.py": set(),
    "sync/monitoring/growth.py": {"disk"},
}
"""Where the key of an alarm is neither text nor a constant of its module, its first words."""


def test_every_alarm_is_on_the_page_for_the_person_on_call() -> None:
    """By the first word of its key; a new one is found where it is raised."""
    words: set[str] = set()
    elsewhere = {}
    for path in (ROOT / "sync").rglob("*.py"):
        known, by_other_names = keys_of_alarms(ast.parse(path.read_text()))
        words |= known
        if by_other_names:
            elsewhere[str(path.relative_to(ROOT))] = NAMED_ELSEWHERE.get(str(path.relative_to(ROOT)))
    assert elsewhere == NAMED_ELSEWHERE
    words = words.union(*NAMED_ELSEWHERE.values())
    assert {"audit", "silence", "todo", "backlog", "database", "schema", "expires", "left_out"} <= words
    told = set(re.findall(r"`(\w+)", (ROOT / "docs" / "on-call.md").read_text().split("## Alarms, by their key")[1]))
    assert words - told == set()


def keys_of_alarms(tree: ast.Module) -> tuple[set[str], bool]:
    """The first words of the keys of the alarms that a module raises, and whether it calls one by another name."""
    constants: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names, values = node.targets[0], node.value
            pairs = (
                zip(names.elts, values.elts, strict=True)
                if isinstance(names, ast.Tuple) and isinstance(values, ast.Tuple)
                else [(names, values)]
            )
            constants |= {n.id: v.value for n, v in pairs if isinstance(n, ast.Name) and isinstance(v, ast.Constant)}
    found, other = set(), False
    for call in (one for one in ast.walk(tree) if isinstance(one, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name not in ("raise_alarm", "raise_or_clear"):
            continue
        key = call.args[0]
        first = key.values[0] if isinstance(key, ast.JoinedStr) else key
        text = constants.get(first.id) if isinstance(first, ast.Name) else getattr(first, "value", None)
        if isinstance(text, str):
            found.add(re.split(r"\W", text)[0])
        else:
            other = True
    return found, other

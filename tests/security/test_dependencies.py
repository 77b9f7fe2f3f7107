"""What is installed is what was looked at: exact pins and hashes, of what others bring along, too."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements", "requirements-otel", "requirements-dev", "requirements-bench", "requirements-mutate"]


def locked(name: str) -> dict[str, str]:
    """Each pin and what follows it, by the package."""
    text = (ROOT / f"{name}.txt").read_text().replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return {re.split(r"[=\[ ]", pin, maxsplit=1)[0].lower(): pin for pin in pins}


@pytest.mark.parametrize("name", LOCKS)
def test_each_package_is_pinned_exactly_and_by_the_hashes_of_its_files(name: str) -> None:
    loose = [pin for pin in locked(name).values() if not re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}\b", pin)]
    assert not loose


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_holds_what_is_wanted(name: str) -> None:
    wanted = re.findall(r"^([\w.-]+)\S*==(\S+)$", (ROOT / f"{name}.in").read_text(), re.MULTILINE)
    pins = locked(name)
    assert wanted
    assert [one for one, version in wanted if f"=={version} " not in pins[one.lower().replace("_", "-")]] == []


def test_make_installs_by_hash_alone() -> None:
    installs = re.findall(r"pip install .*", (ROOT / "Makefile").read_text())
    assert installs
    assert all("--require-hashes" in one for one in installs)

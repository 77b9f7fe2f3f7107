"""The image and the compose file, as they can be read; `.ci/image` builds and runs it, `make lint` lints both."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)["services"]
OURS = ("migrate", "web", "worker")
PINNED = re.compile(r"^[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}$")


def interpolated() -> dict[str, str]:
    """What compose.yaml takes from .env, with what it says about a missing one."""
    found = re.findall(r"(?<!\$)\$\{([A-Z_]+)(:[-?][^}]*)?\}", COMPOSE_TEXT)
    return {name: max(more for one, more in found if one == name) for name, _ in found}


def test_the_base_is_pinned_by_digest() -> None:
    [base] = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert PINNED.match(base)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${BASE}"}


def test_the_image_runs_as_a_user_without_rights_and_is_asked_whether_it_works() -> None:
    stage = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER 1\d{4}:1\d{4}$", stage, re.MULTILINE)
    assert re.search(r'^HEALTHCHECK .*"healthcheck", "web"\]$', stage, re.MULTILINE)


def test_the_builder_sees_what_the_image_is_made_of_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    shown = {line[1:] for line in lines if line.startswith("!")}
    copied = set(" ".join(re.findall(r"^COPY ((?!--).+) \S+$", DOCKERFILE, re.MULTILINE)).split())
    assert shown == copied
    apps = {app.partition(".")[0] for app in settings.INSTALLED_APPS}
    assert {app for app in apps if (ROOT / app).is_dir() and app != "tests"} <= copied
    assert all((ROOT / path).exists() for path in copied)


def test_no_setting_of_the_image_is_a_secret() -> None:
    names = re.findall(r"\b([A-Z_]+)=", " ".join(re.findall(r"^(?:ENV|ARG) .+(?:\\\n.+)*", DOCKERFILE, re.MULTILINE)))
    assert [name for name in names if re.search(r"SECRET|PASSWORD|TOKEN|KEY", name)] == []


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_next_to_nothing(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service and "privileged" not in service and "volumes" not in service


def test_ports_are_open_on_this_machine_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published == ["${WEB_BIND:-127.0.0.1:8000}:8000"]


def test_nothing_starts_before_the_database_is_migrated() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("web", "worker"):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert SERVICES[name]["depends_on"]["postgres"] == {"condition": "service_healthy"}
        assert SERVICES[name]["depends_on"]["redis"] == {"condition": "service_healthy", "required": False}
    assert SERVICES["worker"]["healthcheck"]["test"][-2:] == ["healthcheck", "worker"]
    assert SERVICES["redis"]["profiles"] == ["redis"]


def test_foreign_images_are_pinned_by_digest() -> None:
    images = {name: service["image"] for name, service in SERVICES.items() if name not in OURS}
    assert {name for name, image in images.items() if not PINNED.match(image)} == set()


def test_what_is_secret_has_no_default_and_its_lack_is_named() -> None:
    taken = interpolated()
    for name in ("SECRET_KEY", "POSTGRES_PASSWORD"):
        assert taken[name].startswith(f":?is not set. Write {name}=")
    told = [one for service in SERVICES.values() for one in service.get("environment", {}).items()]
    secret = {name: value for name, value in told if re.search(r"SECRET|PASSWORD|TOKEN|KEY", name)}
    assert {name for name, value in secret.items() if not value.startswith("${")} == set() != secret


def test_whatever_compose_takes_from_env_is_explained_in_the_example() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for name in interpolated():
        [place] = [number for number, line in enumerate(lines) if re.match(rf"#?{name}=", line)]
        assert lines[place - 1].startswith("# "), name

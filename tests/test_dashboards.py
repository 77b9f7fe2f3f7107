"""The dashboard, the alert rules and the documents name metrics and labels that /metrics has."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from orders.checkpoints import make_checkpoint
from sync.alarms import raise_alarm
from sync.models import DriftFinding, SideState
from tests.factories import CallFactory, StatusTransitionFactory
from webhooks.connections import Connection
from webhooks.durations import durations
from webhooks.models import RefusalCount

ROOT = Path(__file__).parent.parent
DASHBOARD = ROOT / "deploy" / "grafana" / "orderbridge.json"
RULES = ROOT / "deploy" / "prometheus" / "orderbridge.rules.yml"
OF_PROMETHEUS = {"instance", "job", "le"}
METRIC = re.compile(r"\b(?:orderbridge_\w+|up\b)")
MATCHED = re.compile(r"(\w+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|on|without) \(([^)]*)\)")


@pytest.fixture
def labels(db: None, client: Client, settings: Any) -> dict[str, set[str]]:
    """Of each sample's name, once there is something to tell of everything, and more than one shop."""
    settings.METRICS_TOKEN = ""
    Connection.objects.create(slug="shop-b", name="B", kind="woocommerce")
    StatusTransitionFactory(event=CallFactory().attempt.event)
    RefusalCount.objects.create(source="crm", reason="bad_signature", count=1)
    DriftFinding.objects.create(kind="status", woo_id=1)
    SideState.objects.update(last_heard_at=timezone.now())
    raise_alarm("silence:crm", "It is quiet.", "Look at it.")
    make_checkpoint()
    durations.add("woocommerce", "shop", 0.1)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").content.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Each with what is written about it, where labels may stand as well."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if match := re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]):
            yield f"count by ({match[2]}) ({match[1]})", ""
    for rule in (rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]):
        yield rule["expr"], re.sub(r"\$labels\.(\w+)", r"{{\1}}", rule["annotations"]["summary"])


def named(text: str) -> set[str]:
    return {label.strip() for label in text.split(",") if label.strip()}


def test_every_metric_and_label_of_the_dashboard_and_the_rules_exists(labels: dict[str, set[str]]) -> None:
    seen = 0
    for expression, words in expressions():
        bare = re.sub(r'"[^"]*"', "", expression)
        metrics = set(METRIC.findall(bare)) - {"up"}
        assert metrics <= labels.keys(), expression
        known = OF_PROMETHEUS | {label for metric in metrics for label in labels[metric]}
        for metric, matchers in MATCHED.findall(bare):
            of_metric = OF_PROMETHEUS | labels.get(metric, set())
            assert named(re.sub(r"[=!~]+", "", matchers)) <= of_metric, expression
        grouped = {label for group in GROUPED.findall(bare) for label in named(group)}
        assert grouped <= known, expression
        assert set(re.findall(r"\{\{ ?(\w+) ?\}\}", words)) <= grouped, f"{words} of {expression}"
        seen += len(metrics)
    assert seen > 25


def test_every_metric_is_on_the_dashboard_or_in_a_rule(labels: dict[str, set[str]]) -> None:
    """But for those that say the same in another way."""
    shown = {name for expression, _ in expressions() for name in METRIC.findall(expression)}
    families = {re.sub(r"_(bucket|count|sum|total|created)$", "", name) for name in labels}
    shown_families = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in shown}
    assert families - shown_families == {"orderbridge_duplicates"}


def test_every_metric_of_the_documents_exists(labels: dict[str, set[str]]) -> None:
    families = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in labels} | labels.keys()
    for document in ("README.md", "docs/operations.md", "docs/backup.md"):
        assert set(re.findall(r"\borderbridge_\w+", (ROOT / document).read_text())) <= families, document


def test_every_alert_says_how_urgent_it_is_and_what_is_wrong() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    assert {rule["labels"]["severity"] for rule in rules} == {"page", "ticket"}
    documented = (ROOT / "docs" / "operations.md").read_text()
    assert [rule["alert"] for rule in rules if f"`{rule['alert']}`" not in documented] == []


def test_panels_do_not_overlap_and_fit_the_grid() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in panels}) == len(panels)

"""A CRM that gives tokens which end: fetched by one worker for all, stored encrypted, replaced when refused."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.db import connection
from django.utils import timezone

from sync.alarms import open_alarms
from sync.clients import crm as crm_backends
from sync.clients.crm import cache, tokens
from sync.clients.crm.base import Access, access
from sync.clients.crm.rest import RestCrm
from sync.clients.crm.schema import URL, SettingField
from sync.clients.crm.tokens import Token, TokenClient
from sync.clients.errors import AuthFailed, Blocked, RateLimited, SideError, Unreachable
from sync.clients.http import JsonClient
from sync.clients.redaction import clean
from sync.models import Attempt, Call, SideState
from sync.monitoring import lasting
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.faults import Fault
from sync.sandbox.server import Answer, LoopbackServer, Request
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.conftest import TwoSides
from tests.sync.crm_contract import CrmContract, Stage
from webhooks.credentials import forget_secrets, hide_passing, known_secrets
from webhooks.models import State, WebhookEvent

ORDERS = 10
REFRESH = "the-right-to-renew-1"


class Login(LoopbackServer):
    """Gives a token for the right to renew one, and tells the CRM which is good."""

    def __init__(self, crm: SandboxCrm) -> None:
        super().__init__()
        self.crm, self.given, self.seconds, self.is_revoked = crm, list[str](), 3600, False
        self.word, self.is_believed = "access_token", True

    def handle(self, request: Request, fault: Fault | None) -> Answer:
        said = parse_qs(request.body.decode())
        if self.is_revoked or said.get("refresh_token") != [REFRESH]:
            return Answer(400, {"error": "invalid_grant"})
        self.given.append(f"short-lived-{len(self.given) + 1}-{self.port}")
        if self.is_believed:
            self.crm.token = self.given[-1]
        return Answer(200, {self.word: self.given[-1], "expires_in": self.seconds})


class TokenCrm(RestCrm):
    """Speaks `rest`, and lets in whoever has fetched a token."""

    schema = (
        URL,
        SettingField(name="login", label="Login", help="Its address"),
        SettingField(name="refresh", label="Right", help="To renew", secret=True),
    )

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self.refresh = access["refresh"]
        self.client = TokenClient(access, self.fetch, login=access["login"])

    def fetch(self, client: JsonClient) -> Token:
        form = {"grant_type": "refresh_token", "refresh_token": self.refresh}
        answer = client.request("POST", "/oauth/token", form=form).data
        return Token.of({"access_token": answer["result"]} if "result" in answer else answer)


@pytest.fixture
def login(two_sides: TwoSides, settings: Any) -> Iterator[Login]:
    cache.forget_all()
    one = Login(two_sides.crm)
    one.start()
    two_sides.crm.token = "nobody-has-it"
    settings.CRM_BACKEND = f"{__name__}.TokenCrm"
    settings.CRM_OPTIONS = {"login": one.url, "refresh": REFRESH}
    yield one
    one.stop()


def crm(**more: Any) -> TokenCrm:
    """In a process that knows nothing yet."""
    cache.forget_all()
    made = crm_backends.connect(**more)
    assert isinstance(made, TokenCrm)
    return made


def side() -> SideState:
    return SideState.objects.get(name="crm")


def ends_in(seconds: float) -> None:
    SideState.objects.filter(name="crm").update(token_ends_at=timezone.now() + timedelta(seconds=seconds))


def turn_ends_in(seconds: float) -> None:
    SideState.objects.filter(name="crm").update(token_turn_ends_at=timezone.now() + timedelta(seconds=seconds))


class TestTokenCrm(CrmContract):
    @pytest.fixture
    def stage(self, two_sides: TwoSides, login: Login) -> Stage:
        return Stage(
            kind=TokenCrm,
            access=crm_backends.environment(TokenCrm),
            move=two_sides.crm.set_status,
            take_away=two_sides.crm.stop,
            missing_id="C-999",
            status="paid",
        )


# --- one for all ---------------------------------------------------------------------------------------------------


def test_it_is_fetched_once_for_all_processes_and_stored_encrypted(login: Login) -> None:
    for _ in range(3):
        crm().ping()
    assert len(login.given) == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM sync_sidestate")
        kept = str(cursor.fetchall())
    assert side().token in kept
    assert login.given[0] not in kept
    assert side().token_turn_ends_at is None


def test_of_many_workers_at_once_one_asks(login: Login) -> None:
    made = [crm().client for _ in range(6)]
    barrier = threading.Barrier(len(made))

    def ask(client: Any) -> str:
        barrier.wait(10)
        try:
            return str(client._token())
        finally:
            connection.close()

    with ThreadPoolExecutor(len(made)) as pool:
        told = set(pool.map(ask, made))
    assert told == {*login.given}
    assert len(login.given) == 1


def test_a_thread_that_only_calls_keeps_no_connection_to_the_database(login: Login) -> None:
    def ask() -> bool:
        crm().ping()
        return connection.connection is None

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask).result()


def test_it_is_renewed_before_its_end_and_meanwhile_the_others_use_the_old_one(login: Login) -> None:
    crm().ping()
    ends_in(tokens.EARLY - 1)
    turn_ends_in(40)
    crm().ping()
    assert len(login.given) == 1, "another worker is at it"
    turn_ends_in(-1)
    crm().ping()
    assert len(login.given) == 2, "which has died"
    crm().ping()
    assert len(login.given) == 2


def test_a_process_renews_what_it_holds(login: Login) -> None:
    login.seconds = 20
    one = crm()
    one.ping()
    login.seconds = 3600
    one.ping()
    one.ping()
    assert len(login.given) == 2


def test_whoever_waits_too_long_sends_nothing(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "PATIENCE", 0.0)
    for seconds in (40, tokens.TURN.total_seconds() + 1):  # whoever began a moment later has it for a moment longer
        turn_ends_in(seconds)
        with pytest.raises(Unreachable, match="Another worker asks"):
            crm().create("14", {})
    assert not login.crm.requests
    assert not login.given
    turn_ends_in(24 * 3600)
    crm().ping()
    assert len(login.given) == 1, "so far off no turn can end: a clock was put back"


# --- whose it is ---------------------------------------------------------------------------------------------------


def test_other_keys_are_another_account(login: Login, settings: Any) -> None:
    crm().ping()
    settings.CRM_OPTIONS = {**settings.CRM_OPTIONS, "refresh": "of-somebody-else"}
    with pytest.raises(AuthFailed, match="gives no token"):
        crm().ping()


def test_what_cannot_be_decrypted_is_fetched_anew(login: Login, settings: Any) -> None:
    crm().ping()
    settings.CREDENTIAL_KEYS = ["another-key-for-credentials"]
    crm().ping()
    assert len(login.given) == 2


def test_a_connection_is_tried_before_it_is_stored(login: Login) -> None:
    values = {"url": login.crm.url, "login": login.url, "refresh": REFRESH}
    crm_backends.connect_to(TokenCrm, access(TokenCrm.schema, values, "not-stored-yet")).ping()
    assert len(login.given) == 1
    assert not SideState.objects.exclude(token="").exists()


# --- refused -------------------------------------------------------------------------------------------------------


def test_one_that_is_refused_is_replaced_and_the_call_is_repeated_once(login: Login) -> None:
    first, second = crm(), crm()
    first.ping()
    second.ping()
    login.crm.token = "the-crm-has-forgotten-it"
    made, is_new = first.create("14", {"total": "1.00"})
    second.ping()
    assert (made.external_id, is_new, len(login.crm.creates), len(login.given)) == ("14", True, 1, 2)


def test_a_new_one_that_is_refused_is_told(login: Login) -> None:
    login.is_believed = False
    with pytest.raises(AuthFailed, match="401"):
        crm().ping()
    assert (len(login.crm.requests), len(login.given)) == (2, 2)


def test_a_right_that_is_missing_asks_for_no_new_one(login: Login) -> None:
    login.crm.faults.add("403")
    with pytest.raises(AuthFailed, match="403"):
        crm().ping()
    assert (len(login.crm.requests), len(login.given)) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"name": "500"}, Unreachable),
        ({"name": "502"}, Unreachable),
        ({"name": "429", "after": 2.0}, RateLimited),
        ({"name": "html"}, Unreachable),
        ({"name": "down"}, Unreachable),
        ({"name": "403"}, AuthFailed),
        ({"name": "422"}, AuthFailed),
    ],
)
def test_whatever_the_login_answers_is_about_the_side_and_nothing_was_written(
    login: Login, fault: dict[str, Any], error: type[SideError]
) -> None:
    login.faults.add(**fault)
    with pytest.raises(error) as raised:
        crm().create("14", {})
    assert not raised.value.about_order
    assert not login.crm.requests
    assert side().token_turn_ends_at is None, "the next one may ask at once"
    login.faults.clear()
    crm().ping()


@pytest.mark.parametrize("threads", [1, 4])
def test_a_revoked_right_closes_the_side_and_uses_no_attempts_up(
    two_sides: TwoSides, login: Login, settings: Any, threads: int
) -> None:
    settings.QUEUE_THREADS = threads
    login.is_revoked = True
    for woo_id in two_sides.orders(ORDERS):
        WebhookEventFactory(order_ref=str(woo_id))
    while pipeline.work_once():
        pass
    assert set(WebhookEvent.objects.values_list("attempts", flat=True)) == {0}
    assert set(WebhookEvent.objects.values_list("state", flat=True)) <= {State.PENDING, State.RETRYING}
    assert side().opened_at
    SideState.objects.filter(name="crm").update(opened_at=timezone.now() - timedelta(days=1))
    lasting.on_schedule()
    [alarm] = open_alarms()
    assert alarm.key == "away:crm"
    assert "invalid_grant" in alarm.words
    login.is_revoked = False
    pipeline.work_since_it_is_mended("crm")
    assert set(WebhookEvent.objects.values_list("state", flat=True)) == {State.DONE}
    assert len(two_sides.crm.creates) == ORDERS
    assert len(login.given) == 1


# --- hidden --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["access_token", "result"])
def test_no_token_is_kept_or_logged(
    two_sides: TwoSides, login: Login, caplog: pytest.LogCaptureFixture, word: str
) -> None:
    """Whatever the CRM calls it: the answer that brings it is not kept at all."""
    login.word = word
    [woo_id] = two_sides.orders(1)
    WebhookEventFactory(order_ref=str(woo_id))
    while pipeline.work_once():
        pass
    kept = str([*Call.objects.values(), *Attempt.objects.values()])
    assert "/oauth/token" in kept
    assert "grant_type" in kept
    for secret in (*login.given, REFRESH):
        assert secret not in kept + caplog.text


def test_a_token_that_another_process_fetched_is_hidden_too(login: Login) -> None:
    crm().ping()
    forget_secrets()
    crm().ping()
    assert clean(f"said {login.given[0]}") == "said •••"


def test_those_that_ended_long_ago_are_remembered_no_more() -> None:
    given = [f"short-lived-{number:04}" for number in range(500)]
    for one in given:
        hide_passing([one, one])
    assert {*given[-20:]} <= {*known_secrets()}
    assert len(known_secrets()) <= 50


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ({"access_token": "a", "expires_in": 1800}, 1800),
        ({"access_token": "a", "expires_in": "1800"}, 1800),
        ({"access_token": "a"}, tokens.USUAL),
        ({"access_token": "a", "expires_in": 1e300}, tokens.LONGEST),
    ],
)
def test_what_an_answer_says_of_its_end(answer: Any, seconds: float) -> None:
    token = Token.of(json.loads(json.dumps(answer)))
    assert (token.value, token.seconds) == ("a", seconds)
    assert "value" not in repr(token)


@pytest.mark.parametrize(
    "answer",
    [None, [], "x", {}, {"access_token": 7}, {"access_token": ""}]
    + [{"access_token": "a", "expires_in": one} for one in (-1, float("nan"), "soon", [3600])],
)
def test_what_is_no_token_is_told(answer: Any) -> None:
    with pytest.raises(Blocked, match="holds no token"):
        Token.of(answer)

"""Sign-in by the company's directory, against a provider of OpenID Connect over real HTTP."""

import copy
import re
from collections.abc import Iterator
from html import unescape
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.test import Client
from oidc_provider_mock import User as Person
from oidc_provider_mock import run_server_in_thread

from integration_site import checks
from orders.models import StaffAction
from tests.security.directories import Directory, key
from tests.servers import free_port

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the provider's
START = "/admin/account/oidc/company/login/"
STRICT: dict[str, Directory] = {}
PEOPLE = {
    "ann": {"preferred_username": "ann", "email": "ann@shop.example", "groups": ["shop-team", "everybody"]},
    "bob": {"preferred_username": "bob", "groups": ["it"]},
    "eve": {"preferred_username": "eve", "groups": ["everybody"]},
    "kim": {"preferred_username": "kim"},
    "one": {"preferred_username": "one", "groups": "shop-team"},
}


@pytest.fixture(scope="module")
def directory() -> Iterator[str]:
    people = [Person(sub=sub, claims=claims) for sub, claims in PEOPLE.items()]
    with run_server_in_thread(user_claims=people) as server:
        server.app = STRICT.setdefault("directory", Directory(server.app))
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def strict(company: str) -> Iterator[Directory]:
    """The one that stands around the provider."""
    directory = STRICT["directory"]
    directory.proofs.clear()
    yield directory
    directory.forge = None


def point_to(settings: Any, url: str) -> None:
    settings.OIDC_URL = url
    settings.OIDC_ROLES = {"shop-team": "operator", "it": "superuser", "watchers": "viewer"}
    providers = copy.deepcopy(settings.SOCIALACCOUNT_PROVIDERS)
    providers["openid_connect"]["APPS"][0] |= {
        "client_id": "orderbridge",
        "secret": "s3",
        "settings": {"server_url": url},
    }
    settings.SOCIALACCOUNT_PROVIDERS = providers


@pytest.fixture
def company(directory: str, settings: Any, db: None) -> str:
    cache.clear()
    point_to(settings, directory)
    return directory


def to_directory(client: Client, **data: str) -> str:
    """The address to which the browser is sent."""
    page = client.post(START, data).content.decode()
    [address] = set(re.findall(r'href="(http://localhost:\d+/[^"]+)"', page))
    assert f'content="0; url={address}"' in page
    return unescape(address)


def signed_in(client: Client, sub: str, **data: str) -> Any:
    """The whole way: to the directory, which asks who it is, and back."""
    answer = requests.post(to_directory(client, **data), data={"sub": sub}, allow_redirects=False, timeout=60)
    back = urlsplit(answer.headers["Location"])
    return client.get(f"{back.path}?{back.query}")


def words(answer: Any) -> str:
    return unescape(answer.content.decode())


def test_somebody_comes_in_with_the_roles_of_their_groups(company: str, client: Client) -> None:
    assert signed_in(client, "ann").headers["Location"] == "/admin/"
    ann = User.objects.get()
    assert (ann.username, ann.is_staff, ann.is_superuser, ann.has_usable_password()) == ("ann", True, False, False)
    assert [group.name for group in ann.groups.all()] == ["operator"]
    assert client.get("/admin/webhooks/webhookevent/").status_code == 200
    assert client.get("/admin/auth/user/").status_code == 403
    done = StaffAction.objects.get(action="sign in")
    assert (done.actor, done.result) == ("ann", "With company.")


def test_a_group_may_make_superusers_and_a_single_one_may_come_without_a_list(company: str) -> None:
    for sub in ("bob", "one"):
        signed_in(Client(), sub)
    assert User.objects.get(username="bob").is_superuser
    assert User.objects.get(username="one").groups.get().name == "operator"


@pytest.mark.parametrize(("sub", "named"), [("eve", "everybody"), ("kim", "is there a claim groups?")])
def test_unknown_groups_open_nothing_and_are_named(company: str, client: Client, sub: str, named: str) -> None:
    answer = signed_in(client, sub)
    assert answer.status_code == 403
    assert "You have no role here" in words(answer) and named in words(answer) and "OIDC_ROLES" in words(answer)
    assert not User.objects.exists()
    assert client.get("/admin/").status_code == 302


def test_at_each_sign_in_the_directory_decides_anew(company: str, settings: Any) -> None:
    signed_in(Client(), "ann")
    ann = User.objects.get()
    ann.groups.add(Group.objects.get(name="auditor"))
    settings.OIDC_ROLES = {"shop-team": "viewer", "it": "operator"}
    signed_in(Client(), "ann")
    assert {group.name for group in ann.groups.all()} == {"auditor", "viewer"}
    settings.OIDC_ROLES = {"it": "operator"}
    assert signed_in(Client(), "ann").status_code == 403
    grants = StaffAction.objects.filter(action="user: change").values_list("result", flat=True)
    assert any(one.endswith("→ auditor, viewer") for one in grants)


def test_an_account_that_was_shut_here_stays_shut(company: str, client: Client) -> None:
    signed_in(Client(), "ann")
    User.objects.update(is_active=False)
    answer = signed_in(client, "ann")
    assert answer.status_code == 403 and "You cannot sign in here" in words(answer)


@pytest.mark.parametrize("taken", [{"username": "Ann"}, {"username": "other", "email": "ANN@shop.example"}])
def test_the_directory_takes_nobodys_account_over(company: str, client: Client, taken: dict[str, str]) -> None:
    User.objects.create_superuser(**taken, password="right-horse-battery")
    answer = signed_in(client, "ann")
    assert answer.status_code == 409 and "This name is taken" in words(answer)
    assert User.objects.count() == 1 and client.get("/admin/").status_code == 302


def test_somebody_connects_their_own_account(company: str, client: Client) -> None:
    User.objects.create_superuser("ann", email="ann@shop.example", password="right-horse-battery")
    client.post("/admin/login/", {"username": "ann", "password": "right-horse-battery"})
    client.post("/admin/account/confirm/", {"password": "right-horse-battery"})
    assert signed_in(client, "ann", process="connect").headers["Location"] == "/admin/account/connections/"
    other = Client()
    assert signed_in(other, "ann").headers["Location"] == "/admin/"
    ann = User.objects.get()
    assert not ann.is_superuser and ann.groups.get().name == "operator"


def test_a_second_factor_of_ours_is_the_directorys_business(company: str, client: Client, settings: Any) -> None:
    settings.MFA_REQUIRED_ROLES = ["operator"]
    signed_in(client, "ann")
    assert client.get("/admin/").status_code == 200


def test_the_request_has_a_state_and_a_proof_that_the_code_is_ours(company: str, client: Client) -> None:
    asked = parse_qs(urlsplit(to_directory(client)).query)
    assert len(asked["state"][0]) >= 16 and asked["code_challenge_method"] == ["S256"]
    assert len(asked["nonce"][0]) >= 16 and asked["nonce"] != parse_qs(urlsplit(to_directory(client)).query)["nonce"]
    assert asked["redirect_uri"] == [f"http://testserver{START}callback/"]


@pytest.mark.parametrize("query", ["code=made-up", "code=made-up&state=made-up", "state=x", "", "error=server_error"])
def test_an_answer_that_nobody_asked_for_opens_nothing(company: str, client: Client, query: str) -> None:
    answer = client.get(f"{START}callback/?{query}")
    assert answer.status_code == 503 and "Signing in by the directory failed" in words(answer)
    assert not User.objects.exists()


def test_the_answer_to_somebody_else_opens_nothing(company: str, client: Client) -> None:
    """A link that signs the victim in as the attacker."""
    answer = requests.post(to_directory(Client()), data={"sub": "ann"}, allow_redirects=False, timeout=60)
    back = urlsplit(answer.headers["Location"])
    assert client.get(f"{back.path}?{back.query}").status_code == 503
    assert not User.objects.exists()


def test_the_code_comes_with_the_proof_that_we_asked_for_it(strict: Directory, client: Client) -> None:
    """By PKCE with S256: this directory takes no other."""
    signed_in(client, "ann")
    assert strict.proofs == [True] and User.objects.get().username == "ann"


FORGED: dict[str, tuple[Any, int]] = {
    "of another directory": (lambda at, said: at.token({**said, "iss": "https://other.example"}), 503),
    "for another client": (lambda at, said: at.token({**said, "aud": "another"}), 503),
    "expired": (lambda at, said: at.token({**said, "exp": int(time()) - 60}), 503),
    "of another sign-in": (lambda at, said: at.token({**said, "nonce": "another"}), 403),
    "without a nonce": (lambda at, said: at.token({k: v for k, v in said.items() if k != "nonce"}), 403),
    "of somebody else": (lambda at, said: at.token({**said, "sub": "bob"}), 403),
    "signed with another key": (lambda at, said: at.token(said, key()), 503),
    "not signed": (lambda at, said: jwt.encode(said, None, algorithm="none", headers={"kid": "ours"}), 503),
    "signed with the public key": (lambda at, said: at.by_public_key(said), 503),
    "no token": (lambda at, said: "x.y.z", 503),
    "none at all": (lambda at, said: None, 403),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_token_that_is_not_the_directorys_for_this_sign_in_opens_nothing(
    strict: Directory, client: Client, how: str
) -> None:
    strict.forge, status = FORGED[how]
    answer = signed_in(client, "ann")
    assert answer.status_code == status, words(answer)
    assert not User.objects.exists() and client.get("/admin/").status_code == 302
    strict.forge = None
    assert signed_in(client, "ann").headers["Location"] == "/admin/"


def test_a_directory_with_one_key_need_not_name_it(strict: Directory, client: Client) -> None:
    strict.forge = lambda at, said: jwt.encode(said, at.key, algorithm="RS256")
    assert signed_in(client, "ann").headers["Location"] == "/admin/"


def test_a_code_of_another_sign_in_opens_nothing(company: str, client: Client) -> None:
    """It was stolen, and is put into one's own answer: the proof that goes with it is another one."""
    wanted, own = parse_qs(urlsplit(to_directory(client)).query), to_directory(Client())
    stolen = requests.post(own, data={"sub": "ann"}, allow_redirects=False, timeout=60).headers["Location"]
    code = parse_qs(urlsplit(stolen).query)["code"][0]
    answer = client.get(f"{START}callback/", {"code": code, "state": wanted["state"][0]})
    assert answer.status_code == 503 and "failed" in words(answer)
    assert not User.objects.exists()


def test_an_answer_opens_the_back_office_once(company: str, client: Client) -> None:
    back = urlsplit(
        requests.post(to_directory(client), data={"sub": "ann"}, allow_redirects=False, timeout=60).headers["Location"]
    )
    assert client.get(f"{back.path}?{back.query}").headers["Location"] == "/admin/"
    client.logout()
    assert client.get(f"{back.path}?{back.query}").status_code == 503


def test_a_directory_that_does_not_answer_is_told(company: str, client: Client, settings: Any) -> None:
    point_to(settings, f"http://localhost:{free_port()}")
    answer = client.post(START)
    assert answer.status_code == 503 and "OIDC_URL" in words(answer)


def test_a_directory_that_is_something_else_is_told(company: str, client: Client, settings: Any) -> None:
    point_to(settings, f"{company}/jwks?/.well-known/")  # JSON, and not of the kind
    assert client.post(START).status_code == 503


def test_only_a_form_with_its_token_leads_away(company: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(START).status_code == 403
    assert b"localhost" not in strict.get(START).content


def test_the_button_is_there_where_a_directory_is(company: str, client: Client, settings: Any) -> None:
    assert "Company account" in words(client.get("/admin/login/"))
    settings.OIDC_URL = ""
    assert "Company account" not in words(client.get("/admin/login/"))


def test_what_is_missing_is_named(settings: Any) -> None:
    assert checks.the_directory_is_told_whole() == []
    settings.OIDC_URL, settings.OIDC_ROLES = "https://directory.example", {}
    found = [message.msg for message in checks.the_directory_is_told_whole()]
    assert [name for name in ("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_ROLES") if name in str(found)] == [
        "OIDC_CLIENT_ID",
        "OIDC_CLIENT_SECRET",
        "OIDC_ROLES",
    ]


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("https://login.example", False),
        ("http://localhost:9", False),
        ("http://10.0.0.7", False),
        ("http://a.example", True),
    ],
)
def test_a_directory_is_asked_over_https(settings: Any, url: str, refused: bool) -> None:
    settings.OIDC_URL, settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = url, "orderbridge", "s3"
    settings.OIDC_ROLES = {"it": "superuser"}
    assert [one.id for one in checks.the_directory_is_told_whole()] == ["orderbridge.E042"] * refused

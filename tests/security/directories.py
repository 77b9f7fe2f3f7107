"""A directory that is strict where the provider of the tests is not, and that can be told to answer wrongly."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from werkzeug.test import run_wsgi_app

KID = "ours"
Tokens = dict[str, Any]


def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Directory:
    """Around the provider: codes are good for the PKCE verifier of their challenge alone, and tokens have our key."""

    app: Any
    key: rsa.RSAPrivateKey = field(default_factory=key)
    forge: Callable[["Directory", Tokens], str | None] | None = None
    challenges: dict[str, str] = field(default_factory=dict)
    "By code."
    proofs: list[bool] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path, query = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])
        sent = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(sent)
        if path == "/oauth2/token" and not self._proved({k: v[0] for k, v in parse_qs(sent.decode()).items()}):
            return self._answer(start, "400 BAD REQUEST", {"error": "invalid_grant"})
        body, status, headers = run_wsgi_app(self.app, environ, buffered=True)
        content = b"".join(body)
        if path == "/jwks":
            return self._answer(start, "200 OK", {"keys": [self.jwk()]})
        if path == "/oauth2/token" and status.startswith("200"):
            return self._answer(start, status, self._signed(json.loads(content)))
        if code := parse_qs(urlsplit(headers.get("Location", "")).query).get("code"):
            self.challenges[code[0]] = query["code_challenge"][0]
            assert query["code_challenge_method"] == ["S256"]
        start(status, list(headers))
        return [content]

    def _proved(self, form: dict[str, str]) -> bool:
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        self.proofs.append(proof == self.challenges.get(form.get("code", "")))
        return self.proofs[-1]

    def _signed(self, said: Tokens) -> Tokens:
        claims = jwt.decode(said.pop("id_token"), options={"verify_signature": False})
        claims |= {"iat": int(time.time()), "exp": int(time.time()) + 300}
        token = self.forge(self, claims) if self.forge else self.token(claims)
        return {**said, "id_token": token} if token else said

    def token(self, claims: Tokens, with_key: rsa.RSAPrivateKey | None = None) -> str:
        return jwt.encode(claims, with_key or self.key, algorithm="RS256", headers={"kid": KID})

    def jwk(self) -> Tokens:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {**public, "kid": KID, "use": "sig", "alg": "RS256"}

    def by_public_key(self, claims: Tokens) -> str:
        """Signed with what everybody knows, as if it were a shared secret. PyJWT does not lend itself to that."""
        public = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        head = {"alg": "HS256", "typ": "JWT", "kid": KID}
        parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in (head, claims)]
        signature = hmac.new(public, b".".join(parts), "sha256").digest()
        return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()

    @staticmethod
    def _answer(start: Any, status: str, said: Tokens) -> list[bytes]:
        start(status, [("Content-Type", "application/json")])
        return [json.dumps(said).encode()]

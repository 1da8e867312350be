"""API keys: how they are made, and who may do what with one."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.errors import Forbidden, Unauthenticated

PREFIX = "drn_"  # lets secret scanners recognise a leaked key
SECRET_BYTES = 32  # 256 random bits cannot be guessed, so a plain SHA-256 keeps them safe at rest
CREATE_COMMAND = "python -m jobs keys create NAME"


class Scope(StrEnum):
    """What a key may be used for."""

    RANK = "rank"  # POST /rank
    FEEDBACK = "feedback"  # POST /feedback
    ARTICLES = "articles"  # PUT, DELETE /articles
    READ = "read"  # GET articles, decisions, versions, metrics
    ADMIN = "admin"  # everything, with /admin, /rules and DELETE /users


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key in the one moment in which its text is known."""

    text: str
    digest: str


def new_key() -> NewKey:
    """A fresh random key. Its text is shown once; only its digest is stored."""
    text = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    return NewKey(text, digest(text))


def digest(text: str) -> str:
    """SHA-256 of a key's text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys in force.

    Args:
        scopes: by a key's digest.
        open_without: whether everybody may do everything while there is no key. Only for a service that listens on
            loopback: beyond it, revoking the last key must lock the door, not take it off its hinges.
    """

    scopes: Mapping[str, frozenset[str]]
    open_without: bool = False

    @classmethod
    def of(cls, keys: Iterable[tuple[str, Iterable[str]]], open_without: bool = False) -> "KeyRing":
        return cls({key_digest: frozenset(scopes) for key_digest, scopes in keys}, open_without)

    def check(self, authorization: str | None, scope: Scope) -> None:
        """Returns if the `Authorization` header may do what `scope` names.

        Looking a digest up in a dictionary leaks nothing: its timing depends on a hash that the caller cannot steer.

        Raises:
            Unauthenticated: no key, not a bearer token, or not a key in force.
            Forbidden: a key without the scope.
        """
        if self.open_without and not self.scopes:
            return
        kind, _, text = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not text.strip():
            raise Unauthenticated("this service needs an API key: send 'Authorization: Bearer <key>'")
        granted = self.scopes.get(digest(text.strip()))
        if granted is None:
            raise Unauthenticated("this API key does not exist or was revoked")
        if scope not in granted and Scope.ADMIN not in granted:
            raise Forbidden(f"this API key may not be used for {scope.value!r}; its scopes are {', '.join(sorted(granted))}")

import pytest

from service.errors import Forbidden, Unauthenticated
from service.keys import KeyRing, Scope, digest, new_key

KEY = "drn_" + 43 * "k"
RING = KeyRing.of([(digest(KEY), ["rank", "feedback"]), (digest("drn_root"), ["admin"])])


def test_keys_are_random_recognisable_and_stored_as_digests() -> None:
    key, other = new_key(), new_key()
    assert key.text.startswith("drn_")
    assert other.text != key.text
    assert key.digest == digest(key.text)
    assert key.text not in key.digest
    assert len(key.text) >= 40


def test_without_keys_everything_is_open_only_where_it_may_be() -> None:
    KeyRing.of([], open_without=True).check(None, Scope.ADMIN)
    with pytest.raises(Unauthenticated):
        KeyRing.of([]).check(None, Scope.RANK)
    with pytest.raises(Unauthenticated):
        KeyRing.of([(digest(KEY), ["rank"])], open_without=True).check(None, Scope.RANK)


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"Bearer  {KEY} "])
def test_a_key_opens_its_scopes(header: str) -> None:
    RING.check(header, Scope.RANK)
    RING.check(header, Scope.FEEDBACK)


def test_a_key_opens_nothing_else() -> None:
    with pytest.raises(Forbidden, match="articles"):
        RING.check(f"Bearer {KEY}", Scope.ARTICLES)


@pytest.mark.parametrize("scope", list(Scope))
def test_admin_opens_everything(scope: Scope) -> None:
    RING.check("Bearer drn_root", scope)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", KEY, f"Basic {KEY}", "Bearer drn_guess"])
def test_anything_else_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        RING.check(header, Scope.RANK)

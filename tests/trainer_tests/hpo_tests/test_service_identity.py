"""Whose a token is, by a file and by the API server's word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from headway.errors import UserError
from headway.hpo.service.identity import ServiceAccounts, TokenFile, UnknownNowError, review_by_api_server
from headway_api import names

OPERATOR = "system:serviceaccount:headway-system:headway-operator"


def written(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "tokens.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_file_gives_each_token_its_owner_and_is_read_anew(tmp_path: Path) -> None:
    path = written(tmp_path, {"operator": "o", "namespaces": {"a": "ta", "b": "tb"}})
    identity = TokenFile(path)
    assert identity.is_operator("o") and not identity.is_operator("ta") and not identity.is_operator("")
    assert [identity.namespace(token) for token in ("ta", "tb", "o", "", "x")] == ["a", "b", None, None, None]
    written(tmp_path, {"namespaces": {"a": "new"}})
    assert not identity.is_operator("o") and not identity.is_operator("")
    assert identity.namespace("new") == "a" and identity.namespace("ta") is None


@pytest.mark.parametrize(
    "document",
    ["{", "[]", {}, {"operator": 7}, {"namespaces": {"a": "t", "b": "t"}}, {"operator": "t", "namespaces": {"a": "t"}}],
)
def test_a_file_that_is_no_such_thing_is_named(tmp_path: Path, document: Any) -> None:
    with pytest.raises(UserError, match=r"tokens\.json"):
        TokenFile(written(tmp_path, document))


def test_a_file_that_breaks_later_gives_no_verdict(tmp_path: Path) -> None:
    identity = TokenFile(written(tmp_path, {"operator": "o", "namespaces": {"a": "ta"}}))
    written(tmp_path, "{")
    for asked in (identity.is_operator, identity.namespace):
        with pytest.raises(UnknownNowError, match="the tokens cannot be read"):
            asked("o")


class Reviewer:
    """The API server's part."""

    def __init__(self, **users: str) -> None:
        self.users, self.asked, self.is_away = users, 0, False
        self.audiences: list[str] | None = None

    def __call__(self, token: str, audience: str) -> dict[str, Any]:
        self.asked += 1
        if self.is_away:
            raise UnknownNowError("away")
        if token not in self.users:
            return {"authenticated": False}
        audiences = [audience] if self.audiences is None else self.audiences
        return {"authenticated": True, "audiences": audiences, "user": {"username": self.users[token]}}


def accounts(reviewer: Reviewer) -> tuple[ServiceAccounts, list[float]]:
    now = [0.0]
    return ServiceAccounts("headway-system/headway-operator", reviewer, lambda: now[0]), now


def test_only_the_operators_account_is_the_operator() -> None:
    users = {"good": OPERATOR, "other": "system:serviceaccount:team:headway-operator", "person": "alice"}
    identity, _ = accounts(Reviewer(**users))
    assert [identity.is_operator(token) for token in ("good", "other", "person", "junk", "")] == [True] + [False] * 4


def test_of_a_token_that_was_never_reviewed_nothing_is_known_at_once() -> None:
    identity, _ = accounts(reviewer := Reviewer(good=OPERATOR))
    assert identity.known_operator("good") is None and identity.known_operator("") is None
    assert reviewer.asked == 0
    assert not identity.is_operator("junk")
    assert identity.known_operator("junk") is False


def test_a_service_account_has_the_storage_of_its_namespace_and_a_person_has_none() -> None:
    identity, _ = accounts(Reviewer(notebook="system:serviceaccount:team-a:default", person="alice"))
    assert identity.namespace("notebook") == "team-a"
    assert identity.namespace("person") is None and identity.namespace("junk") is None


def test_a_driver_has_a_token_for_its_study_in_its_namespace() -> None:
    reviewer = Reviewer(pod="system:serviceaccount:team-a:default", person="alice")
    identity, _ = accounts(reviewer)
    assert identity.is_driver("pod", "team-a", "uid-1")
    assert not identity.is_driver("pod", "team-b", "uid-1")
    assert not identity.is_driver("person", "team-a", "uid-1")
    reviewer.audiences = [names.STORAGE_AUDIENCE, f"{names.DRIVER_AUDIENCE}uid-2"]  # a notebook's, another study's
    assert not identity.is_driver("pod", "team-a", "uid-3")


def test_a_token_for_another_audience_is_nobodys() -> None:
    reviewer = Reviewer(good=OPERATOR)
    reviewer.audiences = ["https://kubernetes.default.svc"]
    identity, _ = accounts(reviewer)
    assert not identity.is_operator("good") and identity.namespace("good") is None


def test_a_review_is_remembered_for_a_minute_for_its_audience_alone() -> None:
    reviewer = Reviewer(good=OPERATOR)
    identity, now = accounts(reviewer)
    for _ in range(3):
        assert identity.is_operator("good")
    assert reviewer.asked == 1
    identity.namespace("good")
    assert reviewer.asked == 2
    assert identity.known_operator("good") is True
    now[0] = 61.0
    reviewer.users = {}
    assert identity.known_operator("good") is None and reviewer.asked == 2
    assert not identity.is_operator("good") and reviewer.asked == 3


def test_an_api_server_that_is_away_is_no_verdict() -> None:
    reviewer = Reviewer(good=OPERATOR)
    identity, _ = accounts(reviewer)
    reviewer.is_away = True
    with pytest.raises(UnknownNowError):
        identity.is_operator("good")
    reviewer.is_away = False
    assert identity.is_operator("good")


def test_an_account_without_a_namespace_is_refused() -> None:
    with pytest.raises(UserError, match="--operator-account: found 'operator': give NAMESPACE/NAME"):
        ServiceAccounts("operator", Reviewer())


def test_without_an_api_server_nothing_is_known_now(tmp_path: Path) -> None:
    with pytest.raises(UnknownNowError, match="the API server reviews no token"):
        review_by_api_server("https://127.0.0.1:1", tmp_path)("token", names.STUDIES_AUDIENCE)

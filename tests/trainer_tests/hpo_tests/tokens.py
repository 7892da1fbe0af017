"""Identities for tests."""

from __future__ import annotations

from collections.abc import Mapping


class Fixed:
    """Tokens by hand."""

    def __init__(self, operator: str = "secret", namespaces: Mapping[str, str] | None = None) -> None:
        self._operator, self._namespaces = operator, {token: name for name, token in (namespaces or {}).items()}

    def is_operator(self, token: str) -> bool:
        return token == self._operator

    def known_operator(self, token: str) -> bool | None:
        return None if token == self._operator else False

    def is_driver(self, token: str, namespace: str, uid: str) -> bool:
        return token == f"driver of {namespace}/{uid}"

    def namespace(self, token: str) -> str | None:
        return self._namespaces.get(token)

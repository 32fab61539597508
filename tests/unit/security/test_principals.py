"""Who calls: told apart, never written down."""

from __future__ import annotations

import re

import pytest

from shared.errors import UnauthorizedError
from shared.security.principals import principal_of


def test_a_function_key_becomes_a_digest_whichever_way_it_comes() -> None:
    by_header = principal_of({"X-Functions-Key": "the-key"}, {}, "function_key", False)
    by_query = principal_of({}, {"code": "the-key"}, "function_key", False)
    assert by_header == by_query
    assert re.fullmatch(r"key:[0-9a-f]{16}", by_header)
    assert by_header != principal_of({"x-functions-key": "other"}, {}, "function_key", False)


def test_without_key_checks_everybody_is_local() -> None:
    assert principal_of({}, {}, "function_key", False) == "local"


def test_in_function_key_mode_a_forged_principal_counts_for_nothing() -> None:
    assert principal_of({"x-ms-client-principal-id": "admin"}, {}, "function_key", True) == "local"


def test_a_signed_in_user_becomes_a_digest() -> None:
    headers = {"X-MS-CLIENT-PRINCIPAL-ID": "5b1c", "X-MS-CLIENT-PRINCIPAL-IDP": "aad"}
    user = principal_of(headers, {}, "easy_auth", True)
    assert re.fullmatch(r"user:[0-9a-f]{16}", user)
    other_issuer = principal_of({**headers, "X-MS-CLIENT-PRINCIPAL-IDP": "google"}, {}, "easy_auth", True)
    assert user != other_issuer


@pytest.mark.parametrize("headers", [{}, {"x-ms-client-principal-id": " "}, {"x-functions-key": "the-key"}])
def test_nobody_is_let_in_without_a_principal(headers: dict[str, str]) -> None:
    with pytest.raises(UnauthorizedError, match="not_authenticated"):
        principal_of(headers, {}, "easy_auth", True)


def test_the_header_is_worthless_where_the_platform_does_not_guard_it() -> None:
    with pytest.raises(UnauthorizedError, match="App Service authentication is off"):
        principal_of({"x-ms-client-principal-id": "5b1c"}, {}, "easy_auth", False)

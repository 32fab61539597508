"""Where servers may be."""

from __future__ import annotations

import pytest

from shared.errors import SidetoneError
from shared.mcp.addresses import address_of

ENVIRONMENT = {"BILLING": "https://billing.example/mcp"}


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("${BILLING}", "https://billing.example/mcp"),
        ("${CLAIMS:-http://127.0.0.1:7090/mcp}", "http://127.0.0.1:7090/mcp"),
        ("http://billing/mcp", "http://billing/mcp"),
        ("http://billing.internal/mcp", "http://billing.internal/mcp"),
    ],
)
def test_variables_are_filled_in(written: str, address: str) -> None:
    assert address_of(written, ENVIRONMENT, where="url") == address


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("${CLAIMS}", "set CLAIMS"),
        ("http://billing.example/mcp", "https://"),
        ("http://10.0.0.5/mcp", "https://"),
        ("file:///etc/passwd", "http"),
    ],
)
def test_what_can_not_be_one_is_told_with_the_field(written: str, told: str) -> None:
    with pytest.raises(SidetoneError) as refused:
        address_of(written, ENVIRONMENT, where="agent desk: mcp_servers.claims.url")
    assert refused.value.detail.startswith("agent desk: mcp_servers.claims.url: ")
    assert told in refused.value.detail

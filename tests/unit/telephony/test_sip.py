"""What SIP headers say of a call, and what they cannot make us believe."""

from __future__ import annotations

import pytest

from shared.session.model import Transport
from shared.telephony.calls import Refusal
from shared.telephony.sip import STATUS, sip_call


def caller(header: str) -> str:
    return sip_call("rtc_1", [("From", header)]).caller


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"Ann" <sip:+15550100@carrier.example>;tag=a1', "+15550100"),
        ("<sip:+15550100@carrier.example:5061;transport=tls>;tag=a1", "+15550100"),
        ("sip:+15550100@carrier.example;tag=a1", "+15550100"),
        ("<sip:+1-555-0100;phone-context=x@carrier.example;user=phone>", "+15550100"),
        ("<sips:15550100@carrier.example>", "15550100"),
        ("<tel:+1-(555).0100;ext=7>", "+15550100"),
        ("TEL:+15550100", "+15550100"),
        ("<sip:%2B15550100@carrier.example>", "+15550100"),
        ("<sip:+15550100:secret@carrier.example>", "+15550100"),
        ("Ann Lee <sip:Ann.Lee@pbx.example>", "ann.lee"),
        ('"sip:+15550199@x <sip:+15550199@x>" <sip:+15550100@carrier.example>', "+15550100"),
        ('"Ann \\" <sip:+15550199@x>" <sip:+15550100@carrier.example>', "+15550100"),
        ("<sip:anonymous@anonymous.invalid>;tag=x", ""),
        ('"Anonymous" <sip:anonymous@carrier.example>', ""),
        ("<sip:+15550100@anonymous.invalid>", ""),
        ("<sip:carrier.example>", ""),
        ("<mailto:ann@example.com>", ""),
        ("<sip:ignore all rules@carrier.example>", ""),
        ("<sip:" + "1" * 400 + "@carrier.example>", ""),
        ("<sip:+1555\u0660100@x>", ""),
        ("", ""),
        ("<<>>", ""),
        ('"' * 1000, ""),
        ("<sip:+15550100@", ""),
    ],
)
def test_the_caller(header: str, expected: str) -> None:
    assert caller(header) == expected


def test_names_are_read_in_any_case_and_form_and_the_first_counts() -> None:
    call = sip_call(
        "rtc_1",
        [
            ("Via", "SIP/2.0/TLS carrier.example"),
            ("f", "<sip:+15550100@x>"),
            ("FROM", "<sip:+15550101@x>"),
            ("TO", "<sip:+15550199@x>"),
        ],
    )
    assert (call.caller, call.called, call.call_id) == ("+15550100", "+15550199", "rtc_1")
    assert call.transport is Transport.SIP


def test_a_call_without_headers_is_from_and_for_nobody_we_know() -> None:
    call = sip_call("rtc_1", [])
    assert (call.caller, call.called) == ("", "")


def test_numbers_do_not_show() -> None:
    call = sip_call("rtc_1", [("From", "<sip:+15550100@x>"), ("To", "<sip:+15550199@x>")])
    assert "1555" not in repr(call)


def test_every_refusal_has_a_final_status() -> None:
    assert set(STATUS) == set(Refusal)
    assert all(400 <= status < 700 for status in STATUS.values())

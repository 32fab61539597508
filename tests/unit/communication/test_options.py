"""Options, phones and faults: what is understood, and what is refused in one sentence."""

from __future__ import annotations

import msgspec
import pytest

from emulators.communication.cli import main
from emulators.communication.faults import Fault, FaultPlan
from emulators.communication.identifiers import Identifier, IdentifierBody, PhoneNumberBody, UserBody, named
from emulators.communication.ids import IdSource
from emulators.communication.phones import Behaviour, PhoneBook, parse_phone
from emulators.communication.wire import RejectedError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--key", "not base64!"], "must be base64"),
        (["--phone", "+15550100=explode"], "such as +15550100=busy"),
        (["--phone", "+15550100=busy:soon"], "such as +15550100=busy"),
        (["--phone", "nobody=busy"], "looks like +15550100"),
        (["--event-grid", "ftp://127.0.0.1/x"], "must be an http or https address"),
        (["--tls-port", "0"], "--tls-port needs"),
        (["--speech-rate-factor", "0"], "must be above zero"),
        (["--callback-attempts", "0"], "must be at least 1"),
    ],
)
def test_bad_options_are_one_clear_sentence(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    try:
        code = main(["--port", "0", *options])
    except SystemExit as ended:
        code = ended.code  # type: ignore[assignment]
    assert code == 2
    assert message in capsys.readouterr().err


def test_phones_do_what_is_said_of_them() -> None:
    book = PhoneBook()
    for text in ("*=busy", "+15550100=machine:300", "8:acs:x=ring"):
        book.set(*parse_phone(text))
    assert book.behaviour(named("+15550199")).outcome == "busy"
    assert book.behaviour(named("+15550100")) == Behaviour(outcome="machine", ring_ms=300)
    assert book.behaviour(named("8:acs:x")).outcome == "ring"


def test_identifiers_as_the_sdk_sends_them() -> None:
    by_phone = IdentifierBody(raw_id="4:+15550100", phone_number=PhoneNumberBody("+15550100"))
    assert by_phone.identifier() == Identifier("4:+15550100")
    by_user = IdentifierBody(communication_user=UserBody("8:acs:a_b"))
    assert by_user.identifier().to_json()["kind"] == "communicationUser"
    assert IdentifierBody(raw_id="8:orgid:x").identifier().to_json()["kind"] == "microsoftTeamsUser"
    assert IdentifierBody(raw_id="28:bot").identifier().to_json()["kind"] == "unknown"
    with pytest.raises(RejectedError):
        IdentifierBody().identifier()


def test_a_fault_strikes_after_others_and_so_often() -> None:
    plan = FaultPlan([Fault(kind="callback_drop", event="Call*", skip=1, times=2)])
    struck = [bool(plan.on_callback(name)) for name in ("CallConnected", "Play", "CallX", "CallY", "CallZ")]
    assert struck == [False, False, True, True, False]
    assert plan.waiting == []


def test_http_faults_concern_an_operation_and_perhaps_a_call() -> None:
    plan = FaultPlan([Fault(kind="http", operation="answer"), Fault(kind="http", operation="*", target="c1")])
    assert plan.on_operation("create", "") is None
    assert plan.on_operation("answer", "") is not None
    assert plan.on_operation("answer", "c2") is None
    assert plan.on_operation("play", "c1") is not None


def test_unknown_fields_of_faults_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="tims"):
        msgspec.json.decode(b'{"kind":"http","tims":2}', type=Fault)


def test_ids_are_reproducible_and_safe_in_paths() -> None:
    one, other = IdSource(7), IdSource(7)
    assert one.guid() == other.guid()
    assert one.incoming_call_context() == other.incoming_call_context()
    assert set(one.guid()) <= set("0123456789abcdef-")
    assert IdSource().guid() != IdSource().guid()

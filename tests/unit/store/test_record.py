from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import SidetoneError
from shared.session.model import Session, SessionState, Standing, Transport, Usage
from shared.store.record import from_fields, to_fields

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
NUMBER = st.integers(min_value=0, max_value=2**53)

FACTS = st.dictionaries(
    TEXT, TEXT | st.booleans() | NUMBER | st.floats(allow_nan=False, allow_infinity=False), max_size=3
)
STANDINGS = st.builds(
    Standing,
    agent=TEXT,
    agent_version=TEXT,
    facts=FACTS,
    previous_agent=TEXT,
    context=FACTS,
    handoffs=NUMBER,
)

SESSIONS = st.builds(
    Session,
    session_id=TEXT,
    state=st.sampled_from(SessionState),
    transport=st.sampled_from(Transport),
    agent=TEXT,
    agent_version=TEXT,
    principal=TEXT,
    created_at_ms=NUMBER,
    call_id=TEXT,
    provider=TEXT,
    epoch=NUMBER,
    owner=TEXT,
    inbox_cursor=TEXT,
    connected_at_ms=NUMBER,
    ended_at_ms=NUMBER,
    end_reason=TEXT,
    max_duration_s=NUMBER,
    variables=st.dictionaries(TEXT, TEXT, max_size=4),
    usage=st.builds(Usage, responses=NUMBER, input_tokens=NUMBER, cached_tokens=NUMBER, output_tokens=NUMBER),
    summary=TEXT,
    traceparent=TEXT,
    standing=st.none() | STANDINGS,
)


@given(SESSIONS)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
def test_a_record_comes_back_as_it_was(session: Session) -> None:
    fields = to_fields(session)
    assert all(isinstance(value, str) for value in fields.values())
    assert from_fields({**fields, "a_field_of_a_later_version": "x"}) == session


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", "sleeping"),
        ("transport", ""),
        ("epoch", "one"),
        ("variables", "[]"),
        ("variables", "{"),
        ("responses", ""),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_record_that_is_wrong_is_named_undecodable(field: str, value: str) -> None:
    session = Session(
        session_id="ses_1",
        state=SessionState.CREATED,
        transport=Transport.SIP,
        agent="a",
        agent_version="v",
        principal="p",
        created_at_ms=1,
    )
    with pytest.raises(SidetoneError) as caught:
        from_fields({**to_fields(session), field: value})
    assert caught.value.code == "undecodable"
    without = to_fields(session)
    del without[field]
    with pytest.raises(SidetoneError, match=field):
        from_fields(without)

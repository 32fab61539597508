"""What people get to see of a log."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from shared.security.field_masking import MASK, mask_fields
from shared.session.log import ToolCalled, ToolExecution, ToolFinished, ToolStatus
from shared.session.redacted import redacted

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=10,
)


@given(value=JSON)
def test_redacted_fields_are_masked_at_every_depth_and_nothing_else(value: object) -> None:
    shown = json.loads(mask_fields(json.dumps(value), ["a", "b"]))

    def same(before: object, after: object) -> bool:
        if isinstance(before, dict):
            assert isinstance(after, dict)
            return before.keys() == after.keys() and all(
                after[name] == MASK if name in "ab" else same(before[name], after[name]) for name in before
            )
        if isinstance(before, list):
            assert isinstance(after, list)
            return len(before) == len(after) and all(map(same, before, after))
        return before == after

    assert same(value, shown)


def test_text_that_is_no_json_is_masked_whole() -> None:
    assert mask_fields('{"card": "4111', ["card"]) == '"***"'
    assert mask_fields("no json", []) == "no json"


def test_entries_are_shown_without_what_their_tool_hides() -> None:
    called = ToolCalled(
        tool_call_id="c1",
        name="pay",
        arguments='{"card":"4111","amount":1}',
        execution=ToolExecution.INLINE,
        response_id="r1",
        redact=("card",),
        at_ms=1,
    )
    finished = ToolFinished(
        tool_call_id="c1",
        name="pay",
        status=ToolStatus.OK,
        output='{"paid":{"card":"4111"}}',
        duration_ms=1,
        redact=("card",),
        at_ms=2,
    )
    shown_call, shown_result = redacted(called), redacted(finished)
    assert isinstance(shown_call, ToolCalled)
    assert isinstance(shown_result, ToolFinished)
    assert shown_call.arguments == '{"card":"***","amount":1}'
    assert shown_result.output == '{"paid":{"card":"***"}}'

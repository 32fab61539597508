from __future__ import annotations

import pytest

from shared.errors import InvalidRequestError
from shared.session.log import (
    ErrorRecorded,
    ToolCalled,
    ToolExecution,
    ToolFinished,
    ToolMadeDurable,
    ToolStatus,
)
from shared.store.event_log import MAX_ENTRY_BYTES, entry_args, ids_of, logged_entry

NOTE = ErrorRecorded(source="worker", code="x", detail="", at_ms=1)
CALLED = ToolCalled(
    tool_call_id="c1",
    name="n",
    arguments="{}",
    execution=ToolExecution.INLINE,
    response_id="r",
    at_ms=1,
)
FINISHED = ToolFinished(
    tool_call_id="c1", name="n", status=ToolStatus.OK, output="{}", duration_ms=1.0, at_ms=2
)


def test_entries_tell_the_scripts_what_they_do_to_the_tool_ledger() -> None:
    durable = ToolMadeDurable(tool_call_id="c1", name="n", at_ms=2)
    args = entry_args([NOTE, CALLED, durable, FINISHED])
    assert args[::2] == ["", "called c1", "durable c1", "finished c1"]
    back = [logged_entry("5-0", {"epoch": "3", "entry": text}) for text in args[1::2]]
    assert [logged.entry for logged in back] == [NOTE, CALLED, durable, FINISHED]
    assert {logged.epoch for logged in back} == {3}


def test_the_size_limit_counts_bytes_not_characters() -> None:
    fits = ErrorRecorded(source="worker", code="x", detail="ü" * (MAX_ENTRY_BYTES // 2 - 100), at_ms=1)
    assert len(entry_args([fits])[1]) < MAX_ENTRY_BYTES // 2 + 100
    too_large = ErrorRecorded(source="worker", code="x", detail="ü" * (MAX_ENTRY_BYTES // 2), at_ms=1)
    with pytest.raises(InvalidRequestError, match="entry_too_large") as caught:
        entry_args([NOTE, too_large])
    assert "error_recorded" in caught.value.detail
    assert "ü" not in caught.value.detail


@pytest.mark.parametrize(
    ("joined", "ids"),
    [("", []), ("1-1,", ["1-1"]), (",", [""]), ("1-1,,2-1,", ["1-1", "", "2-1"]), (",,", ["", ""])],
)
def test_a_scripts_reply_names_what_was_left_out(joined: str, ids: list[str]) -> None:
    assert ids_of(joined) == ids

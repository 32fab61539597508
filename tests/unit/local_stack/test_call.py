from __future__ import annotations

from pathlib import Path

import pytest

from emulators.local import call
from emulators.local.errors import LocalStackError
from shared.session.log import Archived, LogEntry, ToolFinished, ToolStatus, TurnStatus, UserTurn


def turn(number: int) -> UserTurn:
    return UserTurn(
        item_id=f"i{number}", text="words", status=TurnStatus.COMPLETED, spoken_at_ms=number, at_ms=number
    )


def tool(name: str, status: ToolStatus = ToolStatus.OK) -> ToolFinished:
    return ToolFinished(tool_call_id=name, name=name, status=status, output="{}", duration_ms=1, at_ms=9)


ARCHIVED = Archived(turns=8, tools=2, duration_s=30, summary="", at_ms=10)
GOOD: list[LogEntry] = [*map(turn, range(4)), tool("claim_status"), tool("book"), ARCHIVED]


def test_a_whole_demonstration_has_no_problems() -> None:
    assert call.problems_of(GOOD) == []


def test_what_a_demonstration_lacks_is_told() -> None:
    assert call.problems_of([turn(1), tool("claim_status"), tool("book", ToolStatus.ERROR)]) == [
        "1 of 4 caller turns were understood",
        "an inline and a durable tool should have succeeded, seen: claim_status",
        "the session was not archived",
    ]


def test_variables_of_make_and_options_choose_the_words() -> None:
    assert (call._options([], {}).wav, call._options([], {}).say) == ([], [])
    assert call._options([], {"WAV": "a.wav", "AGENT": "x", "TRACE": "1"}).wav == ["a.wav"]
    assert call._options([], {"SAY": "hello there"}).say == ["hello there"]

    options = call._options(["--say", "one", "--say", "two"], {"WAV": "a.wav", "AGENT": "x"})
    assert (options.wav, options.say, options.agent, options.trace) == ([], ["one", "two"], "x", False)


def test_without_words_the_demonstration_is_spoken() -> None:
    texts = [turn.text for turn in call._turns(call._options([], {}))]

    assert texts == list(call.DEMONSTRATION)
    assert call._turns(call._options([], {"WAV": "a.wav"}))[0].audio == Path("a.wav")


def test_media_goes_out_where_the_realtime_service_is() -> None:
    assert call.media_addresses("http://127.0.0.1:9000") == ("127.0.0.1",)

    with pytest.raises(LocalStackError, match=r"^There is no way to https://nobody.invalid: "):
        call.media_addresses("https://nobody.invalid")


def test_a_call_without_a_stack_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIDETONE_RUN_DIR", str(tmp_path))

    assert call.main(["--say", "hello"]) == 1
    assert capsys.readouterr().err == (
        "call: The local stack is not running; start it with `make run` in another terminal.\n"
    )

"""Log lines: one JSON object each, redacted, with what finds them again."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from shared.ids import new_session_id
from shared.telemetry.logs import (
    ROOT_LOGGER,
    bind_session,
    bound_session,
    configure_logging,
    get_logger,
    silence_stderr,
)
from shared.telemetry.trace_context import span

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def stderr() -> Iterator[io.StringIO]:
    logger = logging.getLogger(ROOT_LOGGER)
    before = (logger.level, logger.propagate, list(logger.handlers))
    stream = io.StringIO()
    configure_logging("INFO", role="sidetone-test", stream=stream)
    yield stream
    logger.level, logger.propagate, logger.handlers = before


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_all_that_finds_it_again(stderr: io.StringIO) -> None:
    session_id = new_session_id()
    with bind_session(session_id), span("call.attach", parent=PARENT):
        get_logger("worker").info("sideband attached", extra={"took_ms": 12.5, "call_id": "rtc_abc123"})
    (line,) = lines(stderr)
    assert str(line.pop("time")).endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "sidetone.worker",
        "message": "sideband attached",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "session_id": session_id,
        "role": "sidetone-test",
        "took_ms": 12.5,
        "call_id": "rtc_abc123",
    }


def test_nothing_personal_or_secret_is_written(stderr: io.StringIO) -> None:
    log = get_logger(__name__)
    try:
        raise ValueError("Jane Doe, 555-123-4567, Bearer hunter2hunter2")
    except ValueError:
        log.exception(
            "tool failed", extra={"arguments": '{"member":"Jane"}', "detail": {"reply_to": "j@example.com"}}
        )
    text = stderr.getvalue()
    for secret in ("Jane", "555-123", "hunter2", "j@example.com"):
        assert secret not in text
    (line,) = lines(stderr)
    assert line["error_type"] == "ValueError"
    assert line["detail"] == {"reply_to": "[email]"}


def test_objects_that_json_does_not_know_do_not_break_a_line(stderr: io.StringIO) -> None:
    get_logger("x").warning("odd", extra={"thing": object(), "numbers": {1: {2, 3}}, "lone": "\ud800"})
    assert "odd" in stderr.getvalue()
    assert "<object>" in stderr.getvalue()


def test_below_the_level_nothing_is_written(stderr: io.StringIO) -> None:
    get_logger("x").debug("quiet")
    assert stderr.getvalue() == ""
    configure_logging("DEBUG", role="sidetone-test", stream=stderr)
    get_logger("x").debug("loud")
    assert [line["message"] for line in lines(stderr)] == ["loud"]


def test_configuring_again_does_not_double_the_lines(stderr: io.StringIO) -> None:
    configure_logging("INFO", role="again", stream=stderr)
    get_logger("x").info("once")
    assert [(line["message"], line["role"]) for line in lines(stderr)] == [("once", "again")]


def test_silenced_lines_go_nowhere(stderr: io.StringIO) -> None:
    silence_stderr()
    get_logger("x").info("nobody hears")
    assert stderr.getvalue() == ""


async def test_tasks_carry_the_session_they_were_started_for() -> None:
    async def ask() -> str:
        await asyncio.sleep(0)
        return bound_session()

    with bind_session("ses_one"):
        one = asyncio.create_task(ask())
    with bind_session("ses_two"):
        two = asyncio.create_task(ask())
    assert (await one, await two, bound_session()) == ("ses_one", "ses_two", "")


def test_a_name_is_not_prefixed_twice() -> None:
    assert get_logger("sidetone.store").name == get_logger("store").name == "sidetone.store"

"""What an MCP server asks in mid-call: for a person, to be answered with their approval, or declined."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import mcp_types as types
import pytest
from mcp.client.session import ClientRequestContext

from shared.mcp.client import Answer
from shared.mcp.failures import McpError, timed_out
from shared.mcp.questions import MAX_ROUNDS, Questions, answer_in_call
from shared.tools.approval import MAX_QUESTION_CHARS, Approval

YES = Approval(approval_id="apr_1", by="Ruth", comment="A good customer.")
DONE = types.CallToolResult(content=[])
BOOLEAN, STRING = {"type": "boolean"}, {"type": "string"}


def form(message: str = "Sure?", *, required: tuple[str, ...] = (), **fields: object) -> types.ElicitRequest:
    schema = {"type": "object", "properties": fields, "required": list(required)}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


LINK = types.ElicitRequest(
    params=types.ElicitRequestURLParams(message="Sign in.", url="https://x.example", elicitation_id="e1")
)
APPROVAL = form(approved=BOOLEAN, approved_by=STRING, comment=STRING)


def asking(*asked: types.InputRequest) -> types.InputRequiredResult:
    return types.InputRequiredResult(
        input_requests={f"q{number}": one for number, one in enumerate(asked)}, request_state="s"
    )


class Server:
    """Gives one answer after the other; `given`: what it was called with."""

    def __init__(self, *answers: Answer | McpError, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._answers = list(answers)
        self._meanwhile = meanwhile
        self.given: list[tuple[types.InputResponses | None, str | None]] = []

    async def call(self, inputs: types.InputResponses | None, state: str | None) -> Answer:
        self.given.append((inputs, state))
        self._meanwhile()
        answer = self._answers.pop(0)
        if isinstance(answer, McpError):
            raise answer
        return answer


async def test_a_result_is_the_result() -> None:
    assert await Questions(None).answered(Server(DONE).call) is DONE


@pytest.mark.parametrize(
    ("asked", "content"),
    [
        (APPROVAL, {"approved": True, "approved_by": "Ruth", "comment": "A good customer."}),
        (form(), {}),
        (form(ok=BOOLEAN, colour=STRING), {"ok": True}),
    ],
)
async def test_what_an_approval_answers_waits_for_one_and_is_answered_with_it(
    asked: types.ElicitRequest, content: object
) -> None:
    before = Questions(None)
    server = Server(asking(asked))
    assert await before.answered(server.call) is None
    assert (before.unanswered, len(server.given)) == ("Sure?", 1), "the server hears nothing of it"

    server = Server(asking(asked), DONE)
    after = Questions(YES)
    assert await after.answered(server.call) is DONE
    assert after.unanswered == ""
    answers, state = server.given[1]
    assert (answers, state) == ({"q0": types.ElicitResult(action="accept", content=content)}, "s")  # type: ignore[arg-type]  as it is written


@pytest.mark.parametrize(
    "asked",
    [
        form(iban=STRING, required=("iban",)),
        form(approved=BOOLEAN, notify=BOOLEAN),
        form(approved=BOOLEAN, amount={"type": "number"}, required=("amount",)),
        LINK,
    ],
)
@pytest.mark.parametrize("approval", [None, YES])
async def test_what_an_approval_does_not_answer_is_declined(
    asked: types.ElicitRequest, approval: Approval | None
) -> None:
    server = Server(asking(asked), DONE)
    questions = Questions(approval)
    assert await questions.answered(server.call) is DONE
    assert server.given[1] == ({"q0": types.ElicitResult(action="decline")}, "s")
    assert questions.unanswered == ""


async def test_a_call_that_can_not_wait_declines_everything() -> None:
    server = Server(asking(APPROVAL), DONE)
    assert await Questions(None, can_wait=False).answered(server.call) is DONE
    assert server.given[1] == ({"q0": types.ElicitResult(action="decline")}, "s")


async def test_one_question_of_several_for_a_person_is_enough() -> None:
    questions = Questions(None)
    assert await questions.answered(Server(asking(APPROVAL, LINK)).call) is None
    assert questions.unanswered == "Sure?"


async def test_an_approval_can_be_asked_for_behind_what_was_declined() -> None:
    questions = Questions(None)
    assert await questions.answered(Server(asking(LINK), asking(APPROVAL)).call) is None
    assert questions.unanswered == "Sure?"


async def test_who_asks_without_end_or_for_something_else_is_told_so() -> None:
    endless = Server(*[asking(LINK)] * MAX_ROUNDS)
    sampling = types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[], max_tokens=1))
    for server in (endless, Server(asking(sampling))):
        with pytest.raises(McpError, match="mcp_asks_too_much"):
            await Questions(None).answered(server.call)


@pytest.mark.parametrize("answer", [DONE, timed_out("billing", 5)])
async def test_whatever_comes_behind_a_question_in_mid_call_the_person_is_asked(
    answer: types.CallToolResult | McpError,
) -> None:
    questions = Questions(None)

    def ask() -> None:
        assert questions.answer(APPROVAL.params) == types.ElicitResult(action="cancel")

    assert await questions.answered(Server(answer, meanwhile=ask).call) is None
    assert questions.unanswered == "Sure?"


async def test_an_error_without_a_question_is_an_error() -> None:
    with pytest.raises(McpError, match="mcp_timeout"):
        await Questions(None).answered(Server(timed_out("billing", 5)).call)


@pytest.mark.parametrize(
    ("message", "read"),
    [
        ("x" * 2 * MAX_QUESTION_CHARS, "x" * MAX_QUESTION_CHARS),
        ("", "May the tool go on?"),
        ("Su\u202ere?", "Sure?"),
    ],
)
def test_the_approver_reads_the_question_cleaned_and_bounded(message: str, read: str) -> None:
    questions = Questions(None)
    questions.answer(form(message, ok=BOOLEAN).params)
    assert questions.unanswered == read


async def test_a_question_belongs_to_the_call_in_whose_context_it_comes() -> None:
    context = cast("ClientRequestContext", None)  # not looked at
    questions = Questions(None)
    assert await answer_in_call(context, APPROVAL.params) == types.ElicitResult(action="decline")
    with questions.heard():
        assert await answer_in_call(context, APPROVAL.params) == types.ElicitResult(action="cancel")
    assert questions.unanswered == "Sure?"
    assert await answer_in_call(context, APPROVAL.params) == types.ElicitResult(action="decline")

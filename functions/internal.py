"""What our own workers ask of the control plane: run a durable tool, hear about a session's life.

Both can be sent again at will: a worker repeats a message until it is answered.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import azure.durable_functions as df
import azure.functions as func

from functions.call_tools import orchestration_of
from functions.endpoint import Call, durable_endpoint
from functions.orchestrations import ATTACHED, CALL_ENDED, ENDED, SESSION_LIFECYCLE, Orchestrations
from functions.requests import check_content_type
from functions.responses import json_answer
from functions.routes import internal as routes
from shared.errors import InvalidRequestError, NotFoundError, SidetoneError
from shared.ids import tool_instance_id

if TYPE_CHECKING:
    from shared.session.jobs import AdjustRecording, LifecycleEvent, StartDurableTool

blueprint = df.Blueprint()

M = TypeVar("M", "StartDurableTool", "AdjustRecording", "LifecycleEvent")


@durable_endpoint(blueprint, routes.START_TOOL_CALL)
async def start_tool_call(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """Start the orchestration of a durable tool call, once."""
    from functions.bodies import Accepted
    from shared.session.jobs import StartDurableTool

    message = message_of(call, StartDurableTool)
    # An erased session gets no tool run any more, and no history that holds its arguments.
    session = await call.dependencies.sessions.get(call.session_id)
    agent = message.agent or session.agent
    started = await orchestrations.start_once(
        await orchestration_of(call.dependencies, agent, message.tool),
        tool_instance_id(call.session_id, message.tool_call_id),
        {
            "session_id": call.session_id,
            "tool_call_id": message.tool_call_id,
            "tool": message.tool,
            "arguments": message.arguments,
            "agent": agent,
            "traceparent": message.traceparent or call.traceparent,
        },
    )
    return json_answer(Accepted(changed=started), status=HTTPStatus.ACCEPTED)


@durable_endpoint(blueprint, routes.REPORT_LIFECYCLE)
async def report_lifecycle(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """Pass `attached` or `ended` on to the session's orchestration.

    A session whose orchestration was lost before it could start gets a new one here, so that
    its books are closed all the same.
    """
    from functions.bodies import Accepted
    from shared.session.jobs import LifecycleEvent

    message = message_of(call, LifecycleEvent)
    if message.event not in (ATTACHED, ENDED):
        raise InvalidRequestError("invalid_body", f"event must be {ATTACHED} or {ENDED}.")
    data = {"reason": message.reason}
    told = await orchestrations.raise_event(call.session_id, message.event, data)
    if not told and await _start_lost(call, orchestrations):
        told = await orchestrations.raise_event(call.session_id, message.event, data)
    if message.event == ENDED:
        await _tell_tools(call, orchestrations)
    return json_answer(Accepted(changed=told), status=HTTPStatus.ACCEPTED)


async def _tell_tools(call: Call, orchestrations: Orchestrations) -> None:
    """Tell the durable tools that still run that their call is over; what they do then is their author's."""
    from shared.session.log import ToolExecution
    from shared.store.ownership import unanswered_tools

    for open_call in await unanswered_tools(call.dependencies.redis, call.session_id):
        if open_call.execution is ToolExecution.DURABLE:
            instance_id = tool_instance_id(call.session_id, open_call.tool_call_id)
            await orchestrations.raise_event(instance_id, CALL_ENDED, {})


async def _start_lost(call: Call, orchestrations: Orchestrations) -> bool:
    """Start the orchestration of a session that has a record but no orchestration, finished or not."""
    try:
        session = await call.dependencies.sessions.get(call.session_id)
    except NotFoundError:
        return False
    return await orchestrations.start_once(
        SESSION_LIFECYCLE,
        call.session_id,
        {
            "session_id": call.session_id,
            "connect_within_s": call.dependencies.settings.connect_timeout_s,
            "max_duration_s": session.max_duration_s or call.dependencies.settings.max_call_duration_s,
            "traceparent": session.traceparent,
        },
    )


def message_of(call: Call, kind: type[M]) -> M:
    """Decode the worker's message, which must be of `kind` and about the session in the path."""
    from shared.session.codec import CONTROL

    check_content_type(call.request, "application/json")
    try:
        message = CONTROL.decode(call.request.get_body())
    except SidetoneError as error:
        raise InvalidRequestError("invalid_body", "The body is not one of our control messages.") from error
    if not isinstance(message, kind):
        raise InvalidRequestError("invalid_body", "The body is a control message of another kind.")
    if message.session_id != call.session_id:
        raise InvalidRequestError("invalid_body", "The message is about another session than the path.")
    return message

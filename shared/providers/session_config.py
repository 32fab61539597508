"""The Realtime session object that an agent becomes.

Source: the GA Realtime API's `session` (client_secrets, calls, accept, session.update share it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.agents.catalog import Agent
    from shared.agents.scene import Scene
    from shared.session.model import Transport


def realtime_session(
    agent: Agent,
    *,
    variables: Mapping[str, str],
    model: str,
    transcription_model: str,
    transport: Transport,
    scene: Scene | None = None,
    voice: str = "",
    announced: bool = False,
) -> dict[str, object]:
    """Return the `session` object for `agent`; raises InvalidRequestError when variables do not fit.

    scene: what the prompt may know of the call. voice: of the call, where another agent began it. announced:
    the caller has heard what the agent has to tell them first; until then nothing else is to be said, so
    the service neither answers them nor stops for them.
    """
    audio_format: dict[str, object] = (
        {"type": "audio/pcmu"} if transport == "sip" else {"type": "audio/pcm", "rate": 24000}
    )
    turn_detection = agent.turn_detection.as_session_field(transport)
    if agent.consent and not announced:
        turn_detection |= {"create_response": False, "interrupt_response": False}
    audio_input: dict[str, object] = {
        "turn_detection": turn_detection,
        "transcription": _transcription(agent, transcription_model),
    }
    if agent.model.noise_reduction:
        audio_input["noise_reduction"] = {"type": agent.model.noise_reduction}
    audio_output: dict[str, object] = {"voice": voice or agent.voice}
    if agent.model.speed != 1.0:
        audio_output["speed"] = agent.model.speed
    if transport != "webrtc":  # over WebRTC the media leg negotiates Opus by itself
        audio_input["format"] = audio_format
        audio_output["format"] = audio_format
    return {
        "type": "realtime",
        "model": agent.model.model or model,
        "instructions": agent.instructions(variables, scene) if scene else agent.instructions(variables),
        "output_modalities": ["audio"],
        "tools": [
            *(tool.function_schema() for tool in agent.tools.values()),
            *(handoff.function_schema() for handoff in agent.handoffs.values()),
        ],
        "tool_choice": "auto",
        "max_output_tokens": agent.max_output_tokens,
        "audio": {"input": audio_input, "output": audio_output},
        **({"reasoning": {"effort": agent.model.reasoning_effort}} if agent.model.reasoning_effort else {}),
    }


def _transcription(agent: Agent, model: str) -> dict[str, object] | None:
    wanted = agent.model.transcription
    if not wanted.enabled or not (wanted.model or model):
        return None
    prompt = {"prompt": wanted.prompt} if wanted.prompt else {}
    return {"model": wanted.model or model, "language": agent.language, **prompt}


def session_update(session: Mapping[str, object], *, event_id: str) -> dict[str, object]:
    """Return the client event that makes a running call follow `session`; the model cannot change."""
    return {
        "type": "session.update",
        "event_id": event_id,
        "session": {name: value for name, value in session.items() if name != "model"},
    }

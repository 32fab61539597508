"""The JSON Schema of an agent's YAML, for editors: completion, and red lines before anything is run."""

from __future__ import annotations

import json
from typing import cast

from shared.agents.agent_file import AgentFile

SCHEMA_FILE = "agent.schema.json"

TOLD = {
    "name": "What a session is started with, and what handoffs lead to.",
    "description": "For people, for lists, and for agents that may hand over to this one.",
    "prompt": "The instructions: a Jinja template, relative to the directory.",
    "instructions": "The instructions themselves, a Jinja template, in place of `prompt`.",
    "voice": "The voice of calls that begin with this agent.",
    "language": "ISO 639-1 code, for the transcription.",
    "greeting": "Spoken first, word for word, when a call begins here; empty lets the caller begin.",
    "farewell": "Spoken before the server ends the call for a limit; empty ends it without a word.",
    "variables": "Values for the prompt from whoever starts a session; without a default they must be given.",
    "environment": "Environment variables that the prompt may show, as environment.NAME.",
    "tools": "What the agent may do: module.function of the tools folder, or call.… for the telephone.",
    "mcp_servers": "MCP servers that more tools come from.",
    "gates": "Facts that must be known before a tool may run, beside those that the tool itself requires.",
    "requires": "Facts that must be known before the call may be handed to this agent.",
    "handoffs": "Whom this agent may hand the call to, and what it has to tell.",
    "guardrails": "What the agent must not say: the response is cut off, and `say` is said instead.",
    "turn_detection": "How the caller's turn ends.",
    "limits": "What ends a call that began with this agent, from the server.",
    "max_output_tokens": "The most tokens of one response, or inf.",
    "model": "Deployment or model of calls that begin with this agent; the settings' if left out.",
    "reasoning_effort": "How much a reasoning model thinks before it speaks.",
    "speed": "How fast the voice speaks; 1 is its own pace.",
    "noise_reduction": "For a microphone near the mouth, or across the room.",
    "transcription": "How callers' words are written down for the log; the model hears them itself.",
    "transfer_to": "Whom the agent may transfer the call to, by the names that the model knows.",
    "participants": "Whom the agent may take into the call.",
    "consent": "What callers hear first, and may have to agree to.",
    "recording": "Whether and how calls are recorded.",
}


def agent_schema() -> dict[str, object]:
    """Return the JSON Schema (draft 2020-12) of one agent's file."""
    schema = AgentFile.model_json_schema()
    properties = cast("dict[str, dict[str, object]]", schema["properties"])
    for name, told in TOLD.items():
        properties[name] = {**properties[name], "description": told}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "A Sidetone agent",
        "description": "docs/agents.md tells more.",
    }


def schema_text() -> str:
    """Return the schema as it is published beside the agents."""
    return json.dumps(agent_schema(), indent=2, ensure_ascii=False) + "\n"

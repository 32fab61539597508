"""A mind behind any OpenAI-compatible chat completions endpoint."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable
from typing import Any, cast

import openai
from openai import AsyncOpenAI

from emulators.realtime.mind.thoughts import CallTool, MindError, Say, Thought
from emulators.realtime.session.conversation import Item
from emulators.realtime.session.turn import Turn
from emulators.realtime.wire import Json, as_object

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_TIMEOUT_S = 30.0


class ChatMind:
    """Streams the endpoint's answer: each sentence is spoken as soon as it is complete."""

    def __init__(self, client: AsyncOpenAI, model: str) -> None:
        self._client = client
        self._model = model

    async def think(self, turn: Turn) -> AsyncGenerator[Thought, None]:
        request: Json = {"model": self._model, "messages": _messages(turn), "stream": True}
        tools = [_nested(tool) for tool in turn.tools if tool.get("type") == "function"]
        if tools:
            request["tools"] = tools
            request["tool_choice"] = _choice(turn.tool_choice)
        unsaid = ""
        calls: dict[int, list[str]] = {}
        try:
            # The request is built at run time, beyond what the SDK's overloads can type.
            stream = await cast(Any, self._client.chat.completions.create)(**request)
            async for chunk in stream:
                if not chunk.choices:
                    continue
                delta = chunk.choices[0].delta
                for piece in delta.tool_calls or ():
                    call = calls.setdefault(piece.index, ["", ""])
                    if piece.function is not None:
                        call[0] += piece.function.name or ""
                        call[1] += piece.function.arguments or ""
                unsaid += delta.content or ""
                *complete, unsaid = _SENTENCE_END.split(unsaid)
                for sentence in complete:
                    yield Say(sentence)
        except openai.OpenAIError as error:
            raise MindError("mind_unavailable", f"The chat endpoint failed: {error}") from error
        if unsaid.strip():
            yield Say(unsaid.strip())
        for _, (name, arguments) in sorted(calls.items()):
            yield CallTool(name, arguments or "{}")


class ChatMinds:
    """Minds behind one endpoint, over one pool of connections."""

    def __init__(self, *, base_url: str, api_key: str, model: str) -> None:
        self._client = AsyncOpenAI(base_url=base_url, api_key=api_key, timeout=_TIMEOUT_S, max_retries=1)
        self._model = model

    def new(self) -> ChatMind:
        return ChatMind(self._client, self._model)

    async def close(self) -> None:
        await self._client.close()


def _messages(turn: Turn) -> list[Json]:
    messages: list[Json] = [{"role": "system", "content": turn.response_instructions or turn.instructions}]
    for item in turn.items:
        message = _message(item)
        if message is not None:
            messages.append(message)
    return messages


def _message(item: Item) -> Json | None:
    match item.role:
        case "user" | "assistant" | "system":
            return {"role": item.role, "content": item.text or ""}
        case "tool_call":
            function: Json = {"name": item.name, "arguments": item.arguments}
            call: Json = {"id": item.call_id, "type": "function", "function": function}
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        case "tool_output":
            return {"role": "tool", "tool_call_id": item.call_id, "content": item.text or ""}
        case "other":
            return None


def _nested(tool: Json) -> Json:
    return {"type": "function", "function": _only(tool, ("name", "description", "parameters"))}


def _choice(choice: object) -> object:
    named = as_object(choice)
    if named is None:
        return choice if isinstance(choice, str) else "auto"
    return {"type": "function", "function": {"name": named.get("name")}}


def _only(source: Json, names: Iterable[str]) -> Json:
    return {name: source[name] for name in names if source.get(name) is not None}

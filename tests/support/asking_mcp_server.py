"""An MCP server whose tools ask for an approval before they act, and act once for a key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.support.mcp_server import ScriptedMcpServer, text_result

APPROVAL = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "approved_by": {"type": "string"}},
    "required": ["approved"],
}


class AskingMcpServer(ScriptedMcpServer):
    """effects: who approved, by key. runs: the keys of what it did. answers: what its questions were
    answered with, accept, decline or cancel; in order.
    """

    def __init__(
        self, *tools: Mapping[str, object], legacy: bool = False, schema: Mapping[str, object] = APPROVAL
    ) -> None:
        super().__init__(*tools, legacy=legacy)
        self.question: dict[str, object] = {
            "mode": "form",
            "message": "Pay 250 dollars?",
            "requestedSchema": schema,
        }
        self.on_call = self._act
        self.effects: dict[str, str] = {}
        self.runs: list[str] = []
        self.answers: list[str] = []

    @property
    def keys(self) -> set[str]:
        """The idempotency keys of all calls."""
        return {call["_meta"]["sidetone/idempotency-key"] for call in self.calls}

    async def _act(self, name: str, arguments: Mapping[str, Any], request: web.Request) -> object:
        call = self.calls[-1]
        key = call["_meta"]["sidetone/idempotency-key"]

        def result(answer: Mapping[str, Any]) -> object:
            self.answers.append(answer["action"])
            if answer["action"] != "accept" or not answer["content"]["approved"]:
                return text_result("The payment was not approved.", isError=True)
            if key not in self.effects:
                self.effects[key] = answer["content"]["approved_by"]
                self.runs.append(key)
            return text_result(json.dumps({"done": "paid"}))

        if self.legacy:
            return await self.ask(request, self.question, result)
        if "inputResponses" not in call:
            asked = {"method": "elicitation/create", "params": self.question}
            return {"resultType": "input_required", "inputRequests": {"q": asked}, "requestState": "s"}
        return result(call["inputResponses"]["q"])

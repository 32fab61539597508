"""Running a Lua script in Redis."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from shared.store.command_pipe import CommandPipe
from shared.store.connection import ANSWER_S, answered, translated


class Script:
    """One Lua script, run by its digest; Redis gets the text only when it does not know it (yet)."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = f"-- {name}\n{text}"
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def run(
        self,
        redis: Redis | CommandPipe,
        keys: Sequence[str],
        args: Sequence[str | int],
        *,
        within: float = ANSWER_S,
    ) -> list[str]:
        """Run the script and return its reply, an array of strings.

        Raises UnavailableError when Redis does not answer.
        """
        told = self._run(redis, keys, args)
        if isinstance(redis, CommandPipe):
            return cast("list[str]", await translated(told))
        return cast("list[str]", await answered(told, within=within))

    async def _run(
        self, redis: Redis | CommandPipe, keys: Sequence[str], args: Sequence[str | int]
    ) -> object:
        try:
            return await redis.execute_command("EVALSHA", self.digest, len(keys), *keys, *args)
        except NoScriptError:
            return await redis.execute_command("EVAL", self.text, len(keys), *keys, *args)


def nonce() -> str:
    """Return a value that tells one logical write from all others."""
    return secrets.token_hex(8)

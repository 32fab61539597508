"""How a tool says no."""

from __future__ import annotations

import re

_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


class ToolRefusedError(Exception):
    """Raised by a tool that can't do what the model asks; the model is told `message`, word for word.

    message: says what is wrong and what would be right, fit to be told to the caller.
    code: stable, snake_case, for programs (evaluations, reports).

    Anything else that a tool raises reaches the model only as "the tool failed".
    """

    def __init__(self, message: str, *, code: str = "refused") -> None:
        super().__init__(message)
        if not _CODE.fullmatch(code):
            raise ValueError(f"A refusal's code is snake_case, such as slot_taken; not {code!r}.")
        self.message = message
        self.code = code

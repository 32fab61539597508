"""Text from outside, without what a reader of it would not see.

Invisible characters (format controls, bidirectional overrides, tags, private use) carry instructions to a
model past the people who look at the text; control characters carry escape sequences into terminals.
Source: Unicode general categories Cc, Cf, Co, Cs, Cn.
"""

from __future__ import annotations

import re
import unicodedata

_ALLOWED = "\n\t"
# What holds words together in some scripts and emoji: legitimate, and carries no text of its own.
_JOINERS = "\u200c\u200d"
_PLAIN = re.compile(r"[\n\t\x20-\x7e]*")


def plain(text: str) -> tuple[str, bool]:
    """Return `text` without unseen characters, and whether there were any."""
    if _PLAIN.fullmatch(text):
        return text, False
    kept = "".join(sign for sign in text if _is_seen(sign))
    return kept, len(kept) < len(text.replace("\r", ""))


def _is_seen(sign: str) -> bool:
    return sign in _ALLOWED or sign in _JOINERS or not unicodedata.category(sign).startswith("C")

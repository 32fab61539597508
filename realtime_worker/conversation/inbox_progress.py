"""Which commands have taken effect: whoever owns the session next reads the inbox from there."""

from __future__ import annotations

from realtime_worker.conversation.effects import ConsumeInbox


class InboxProgress:
    """The cursor moves over a command once it and all before it have taken effect.

    So words that were never said, and a goodbye that was cut off, are said by the next owner. What is
    behind them in the inbox reaches it a second time, and must not do anything then.
    """

    def __init__(self) -> None:
        self._open: dict[str, bool] = {}  # entry id, in the inbox's order -> whether it has taken effect

    def received(self, entry_id: str) -> None:
        """A command came out of the inbox."""
        self._open.setdefault(entry_id, False)

    def waits(self, entry_id: str) -> bool:
        """Whether this is a command that has not taken effect."""
        return self._open.get(entry_id) is False

    def done(self, entry_id: str) -> list[ConsumeInbox]:
        """A command took effect; return how far the cursor moves, if it does."""
        self._open[entry_id] = True
        last = ""
        while self._open:
            first = next(iter(self._open))
            if not self._open[first]:
                break
            last = first
            del self._open[first]
        return [ConsumeInbox(entry_id=last)] if last else []

"""Did the caller hear what the agent said? Its words in the log, beside speech-to-text of the recording."""

from __future__ import annotations

from collections.abc import Sequence

from shared.session.log import AgentTurn, Interrupted, LogEntry, TurnStatus


def match(entries: Sequence[LogEntry], heard: str, *, others: str = "") -> float:
    """Return how much of what was said was heard, 0.0 to 1.0: one minus the word error rate.

    What the caller interrupted counts as far as it was heard: the part of it that fits best. `others`: what
    other people said after the agent.
    """
    from emulators.speech.transcripts import word_error_rate

    cut = {entry.response_id for entry in entries if isinstance(entry, Interrupted)}
    turns = sorted((e for e in entries if isinstance(e, AgentTurn)), key=lambda turn: turn.spoken_at_ms)
    said = [turn.text for turn in turns]

    def errors(texts: Sequence[str]) -> float:
        return word_error_rate(" ".join([*texts, others]), heard)

    for number, turn in enumerate(turns):
        if turn.response_id in cut or turn.status is TurnStatus.INTERRUPTED:
            words = turn.text.split()
            beginnings = [" ".join(words[:count]) for count in range(len(words) + 1)]
            said[number] = min(
                beginnings, key=lambda text: errors([*said[:number], text, *said[number + 1 :]])
            )
    return max(0.0, 1.0 - errors(said))

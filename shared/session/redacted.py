"""Log entries as people get to see them: without the fields that a tool's author wants hidden.

The log itself keeps them: whoever takes the session over has to run the tool, and to send its output.
"""

from __future__ import annotations

from dataclasses import replace

from shared.security.field_masking import mask_fields
from shared.session.log import LogEntry, ToolCalled, ToolFinished


def redacted(entry: LogEntry) -> LogEntry:
    """Return `entry` with its redacted fields masked."""
    match entry:
        case ToolCalled(redact=names, arguments=arguments) if names:
            return replace(entry, arguments=mask_fields(arguments, names))
        case ToolFinished(redact=names, output=output, facts=facts) if names:
            known = {name: value for name, value in facts.items() if name not in names}
            return replace(entry, output=mask_fields(output, names), facts=known)
        case _:
            return entry

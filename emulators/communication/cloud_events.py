"""Callback events as CloudEvents 1.0, and the result that each carries.

Source: the event models of the public Python SDK (`_generated/models`), Microsoft's "Call Automation webhook
events".
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from emulators.communication.media_wire import now, timestamp
from emulators.communication.phones import Failure
from emulators.communication.wire import Json, without_nulls

PREFIX = "Microsoft.Communication."
_VERSION = "2026-03-12"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """`resultInformation`: how an action ended."""

    code: int = 200
    sub_code: int = 0
    message: str = "Action completed successfully."
    sip: tuple[int, str] | None = None

    def to_json(self) -> Json:
        sip: Json | None = {"code": self.sip[0], "message": self.sip[1]} if self.sip else None
        return without_nulls(
            {"code": self.code, "subCode": self.sub_code, "message": self.message, "sipDetails": sip}
        )


SUCCESS = Result()
ENDED_BY_API = Result(sub_code=7000, message="The call was ended by the Call Automation API.")
ENDED_BY_CALLER = Result(
    sub_code=560000, message="Normal PSTN call end: the user ended the call.", sip=(0, "")
)
CANCELLED = Result(code=400, sub_code=8508, message="Action failed, the operation was cancelled.")


def failed(failure: Failure) -> Result:
    """Return the result of a call that reached nobody."""
    return Result(
        code=failure.code,
        sub_code=failure.sub_code,
        message=failure.message,
        sip=(failure.code, failure.sip_reason),
    )


def cloud_event(name: str, call_id: str, data: Json) -> Json:
    """Return the event `Microsoft.Communication.<name>` of a call."""
    source = f"calling/callConnections/{call_id}"
    return {
        "id": str(uuid4()),
        "source": source,
        "type": PREFIX + name,
        "data": {
            "version": _VERSION,
            **without_nulls(data),
            "publicEventType": PREFIX + name,
        },
        "time": timestamp(now()),
        "specversion": "1.0",
        "datacontenttype": "application/json",
        "subject": source,
    }

"""A carrier with its own media WebSocket, as Twilio has it: µ-law at 8 kHz in JSON, a stream id in every
message, marks that come back when they were played, `clear` to stop.

All that it takes to add one: a Framing and a Carrier. Source: Twilio's "Media Streams - WebSocket Messages".
"""

from __future__ import annotations

import base64

import numpy as np
import orjson
from aiohttp import web

from emulators.realtime.g711 import FromPcm24k
from realtime_worker.media.carriers import Carrier, MediaTicket
from realtime_worker.media.framing import (
    KeyPressed,
    MalformedMessageError,
    MarkReached,
    MediaEvent,
    StreamOpened,
    checked_audio,
)
from realtime_worker.media.resampling import SessionResampler
from shared.errors import UnauthorizedError
from shared.session.model import Transport

PATH = "/api/v1/media/mulaw/{session}/{token}"
SIGNATURE = "as this carrier signs"


def _expanded(code: int) -> int:
    """Return the sample that a µ-law byte stands for (ITU-T G.711)."""
    inverted = ~code & 0xFF
    magnitude = ((inverted & 0x0F) << 3) + 0x84 << ((inverted & 0x70) >> 4)
    return 0x84 - magnitude if inverted & 0x80 else magnitude - 0x84


_SAMPLES = np.array([_expanded(code) for code in range(256)], dtype="<i2")


class MulawFraming:
    def __init__(self) -> None:
        self._stream = ""
        self._heard = SessionResampler(8_000)
        self._said = FromPcm24k("audio/pcmu")

    def read(self, message: bytes) -> bytes | MediaEvent | None:
        try:
            found = orjson.loads(message)
            match found["event"]:
                case "start":
                    self._stream = str(found["streamSid"])
                    return StreamOpened()
                case "media":
                    mulaw = base64.b64decode(checked_audio(found["media"]["payload"].encode()))
                    pcm = _SAMPLES[np.frombuffer(mulaw, dtype=np.uint8)].tobytes()
                    return self._heard.to_session(base64.b64encode(pcm))
                case "dtmf":
                    return KeyPressed(key=str(found["dtmf"]["digit"]))
                case "mark":
                    return MarkReached(name=str(found["mark"]["name"]))
                case _:
                    return None
        except (KeyError, TypeError, orjson.JSONDecodeError):
            raise MalformedMessageError("not one of its messages") from None

    def play(self, audio: bytes) -> bytes:
        mulaw = self._said.feed(base64.b64decode(audio))
        return self._message("media", media={"payload": base64.b64encode(mulaw).decode()}) if mulaw else b""

    def stop(self) -> bytes:
        return self._message("clear")

    def mark(self, name: str) -> bytes:
        return self._message("mark", mark={"name": name})

    def _message(self, event: str, **fields: object) -> bytes:
        return orjson.dumps({"event": event, "streamSid": self._stream, **fields})


async def _verify(request: web.Request) -> None:
    if request.headers.get("X-Signature") != SIGNATURE:
        raise UnauthorizedError("carrier_signature_invalid", "This is not how the carrier signs.")


def mulaw_carrier() -> Carrier:
    """Return the carrier; its addresses hold session and token as parts of the path."""
    return Carrier(
        path=PATH,
        transport=Transport.WEBSOCKET,
        ticket=lambda request: MediaTicket(
            session_id=request.match_info["session"], token=request.match_info["token"]
        ),
        verify=_verify,
        framing=MulawFraming,
    )

"""The file of a recording: JSON Lines, gzip-compressed when its name ends in .gz.

    {"format": "sidetone-recording", "version": 3, "product": …, "session_id": …, "epoch": …, "agent": …,
     "transport": …}
    {"setup": {…}}
    {"in": "provider_event", "at_ms": …, "event": {…}, "out": [effect, …]}
    …
    {"end": "over"}

Instead of `out`, an input that broke the conversation has `raised`, the exception's type. A file without
its last line was cut: its writer was killed. What is there is a recording all the same.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from realtime_worker.conversation.setup import ConversationSetup
from realtime_worker.recording.effects import setup_of
from realtime_worker.recording.inputs import Input, input_of
from realtime_worker.recording.masking import Json
from shared import __version__
from shared.errors import SidetoneError

FORMAT = "sidetone-recording"
VERSION = 3
# How a recording ends; a file that was cut has no end.
OVER = "over"  # the conversation is
LEFT = "left"  # the worker handed the session over, or lost it
FULL = "full"  # it reached its bytes
LONG = "long"  # it reached its seconds
BEHIND = "behind"  # the disk was too slow
RAISED = "raised"  # the conversation broke
CUT = "cut"  # the writer was killed

# What a reader unpacks at most: a file that inflates to more is no recording of ours.
LARGEST = 1 << 30
GZIP = 31  # zlib's wbits for a gzip stream


@dataclass(frozen=True, kw_only=True)
class Step:
    """One input with the effects it had, as stored. `raised`: the exception's type, where it had none."""

    stored: Json
    given: Input
    effects: list[Json]
    raised: str = ""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording as read. `end`: why nothing follows."""

    header: Json
    stored_setup: Json
    setup: ConversationSetup
    steps: list[Step]
    end: str


class NoRecordingError(SidetoneError):
    """A file that can't be replayed; `detail` is one sentence."""

    def __init__(self, detail: str) -> None:
        super().__init__("no_recording", detail)


def header(*, session_id: str, epoch: int, agent: str, transport: str) -> Json:
    """Return the first line of a recording that this version of the product makes."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "product": __version__,
        "session_id": session_id,
        "epoch": epoch,
        "agent": agent,
        "transport": transport,
    }


def line(value: Mapping[str, object]) -> bytes:
    """Return one line of a file."""
    return msgspec.json.encode(value) + b"\n"


def read_recording(path: Path) -> Recording:
    """Return the recording in `path`; raise NoRecordingError where there is none that can be replayed."""
    lines = _lines(path)
    if len(lines) < 2:
        raise NoRecordingError("It has no first two lines: its writer was killed before it wrote any.")
    first, second = (_json(lines[n], n + 1) for n in (0, 1))
    if first.get("format") != FORMAT:
        raise NoRecordingError("It is no recording of a session: make one by setting RECORDINGS_DIR.")
    if first.get("version") != VERSION:
        raise NoRecordingError(
            f"It has format version {first.get('version')}, and this product reads {VERSION}: replay it "
            f"with version {first.get('product')} of the product."
        )
    end = CUT
    steps: list[Step] = []
    for number, text in enumerate(lines[2:], start=3):
        body = _json(text, number)
        if "end" in body:
            end = str(body["end"])
            break
        steps.append(_step(body, number))
    stored_setup = second.get("setup")
    try:
        stored_setup = msgspec.convert(stored_setup, dict[str, object])
        setup = setup_of(stored_setup)
    except (msgspec.ValidationError, SidetoneError, TypeError) as error:
        raise NoRecordingError(f"Line 2 is no setup of a conversation: {error}.") from error
    return Recording(header=first, stored_setup=stored_setup, setup=setup, steps=steps, end=end)


def write_recording(path: Path, lines: Iterable[Mapping[str, object]]) -> None:
    """Replace `path` in one step; its permissions stay."""
    content = b"".join(line(one) for one in lines)
    if path.name.endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        file.write(content)
    os.chmod(file.name, mode)
    os.replace(file.name, path)


def _lines(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
        if path.name.endswith(".gz"):
            unpacker = zlib.decompressobj(wbits=GZIP)
            content = unpacker.decompress(content, LARGEST)
            if unpacker.unconsumed_tail:
                raise NoRecordingError("It unpacks to more than a gigabyte, which no recording does.")
    except OSError as error:
        raise NoRecordingError(f"It can't be read: {error.strerror}.") from error
    except zlib.error as error:
        raise NoRecordingError(
            "It is no gzip file, though its name ends in .gz, or it is damaged."
        ) from error
    *whole, _ = content.split(b"\n")  # what follows the last line end was cut, or is nothing
    return whole


def _json(text: bytes, number: int) -> Json:
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except msgspec.DecodeError as error:
        raise NoRecordingError(f"Line {number} is no JSON object: {error}.") from error


def _step(body: Json, number: int) -> Step:
    stored: Json = {name: value for name, value in body.items() if name not in ("out", "raised")}
    try:
        return Step(
            stored=stored,
            given=input_of(stored),
            effects=msgspec.convert(body.get("out", []), list[dict[str, object]]),
            raised=msgspec.convert(body.get("raised", ""), str),
        )
    except KeyError as error:
        raise NoRecordingError(f"Line {number} is no input that this version knows: {error}.") from error
    except (msgspec.ValidationError, SidetoneError) as error:
        raise NoRecordingError(f"Line {number} is no input of a conversation: {error}.") from error

"""A worker that records: its calls replay, also the one it died over, and nothing that was said is kept."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from realtime_worker.recording.command import replay_files
from realtime_worker.recording.file_format import CUT, OVER, read_recording
from tests.integration.worker.stage import Stage
from tests.recordings.calls import SPOKEN, a_takeover, every_turn, settings
from tests.support.eventually import eventually


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path, settings(tmp_path / "recordings")) as stage:
        yield stage
        await stage.tell()


def spoken_in(content: bytes) -> list[str]:
    text = zlib.decompressobj(31).decompress(content).decode(errors="replace")
    return [word for word in SPOKEN if re.search(rf"\b{word}\b", text)]


async def test_a_call_is_recorded_without_what_was_said(stage: Stage, tmp_path: Path) -> None:
    session_id = await every_turn(stage)
    path = tmp_path / "recordings" / f"{session_id}-1.jsonl.gz"
    await eventually(
        lambda: path.exists() and read_recording(path).end == OVER, what="the recording is whole"
    )
    assert replay_files([path]) == 0
    assert spoken_in(path.read_bytes()) == []
    assert path.stat().st_mode & 0o777 == 0o600
    steps = read_recording(path).steps
    assert sum(len(step.effects) for step in steps) > 50
    # The same words are in the log: they were there to be recorded.
    entries = " ".join(str(one.entry) for one in await stage.log.read(session_id, limit=500))
    assert "grandmother" in entries
    assert "grandmother" not in gzip.decompress(path.read_bytes()).decode()
    assert stage.worker is not None
    assert "recording stopped" not in stage.worker.log.read_text()


async def test_each_owner_of_a_call_has_a_recording_also_one_that_was_killed(
    stage: Stage, tmp_path: Path
) -> None:
    session_id = await a_takeover(stage)
    first, second = (tmp_path / "recordings" / f"{session_id}-{epoch}.jsonl.gz" for epoch in (1, 2))
    await eventually(lambda: read_recording(second).end == OVER, what="the second recording is whole")
    assert replay_files([second]) == 0
    assert [call.name for call in read_recording(second).setup.unanswered] == ["book", "charge"]
    assert spoken_in(second.read_bytes()) == []
    # What the first one had on the disk when it was killed, at most a second ago.
    assert read_recording(first).end == CUT
    assert replay_files([first]) == 0
    assert spoken_in(first.read_bytes()) == []

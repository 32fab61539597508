"""`python -m realtime_worker replay` tells what came out otherwise, and why a file can't be replayed."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import shared
from tests.unit.recording.calls import record

Lines = list[dict[str, object]]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return record(tmp_path)


def replay(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would, with no settings at all."""
    return subprocess.run(
        [sys.executable, "-m", "realtime_worker", *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(shared.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def change(path: Path, edit: Callable[[Lines], object]) -> None:
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    edit(lines)
    path.write_bytes(gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines)))


def expect_another_tool(lines: Lines) -> None:
    for line in lines:
        for effect in line.get("out", []):  # type: ignore[attr-defined]
            if effect["type"] == "run_inline" and effect["tool_call_id"] == "call_2":
                effect["name"] = "look_elsewhere"


def test_a_recording_that_comes_out_the_same_is_one_line(recording: Path) -> None:
    done = replay("replay", recording)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{recording}: ")
    assert line.endswith(" effects, ok")


def test_a_difference_is_shown_with_its_input(recording: Path) -> None:
    change(recording, expect_another_tool)
    done = replay("replay", recording)
    assert done.returncode == 1
    first, *shown = done.stdout.splitlines()
    assert first.endswith("DIFFERENT")
    text = "\n".join(shown)
    assert "provider_event, 0.900 s into the recording." in text
    assert '"type": "response.output_item.done"' in text
    (removed,) = [line for line in shown if line.startswith("  -")]
    (added,) = [line for line in shown if line.startswith("  +")]
    assert '"look_elsewhere"' in removed
    assert '"look_up"' in added


def test_update_makes_a_recording_of_what_comes_out_now(recording: Path) -> None:
    recording.chmod(0o640)
    original = [json.loads(line) for line in gzip.decompress(recording.read_bytes()).splitlines()]
    change(recording, expect_another_tool)
    assert replay("replay", "--update", recording).returncode == 0
    assert [json.loads(line) for line in gzip.decompress(recording.read_bytes()).splitlines()] == original
    assert recording.stat().st_mode & 0o777 == 0o640
    assert replay("replay", recording).returncode == 0


def test_a_recording_may_be_plain_json_lines(recording: Path) -> None:
    plain = recording.with_suffix("")
    plain.write_bytes(gzip.decompress(recording.read_bytes()))
    assert replay("replay", plain).returncode == 0


def test_a_cut_recording_says_so(recording: Path) -> None:
    change(recording, lambda lines: lines.pop())
    done = replay("replay", recording)
    assert done.returncode == 0
    assert "(to where it was cut)" in done.stdout


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.unlink(), "can't be read: No such file"),
        (lambda path: path.write_bytes(b"not gzip"), "is no gzip file"),
        (lambda path: path.write_bytes(b""), "has no first two lines"),
        (lambda path: path.write_bytes(gzip.compress(b"hello\nworld\n")), "Line 1 is no JSON object"),
        (lambda path: change(path, lambda lines: lines[0].update(format="x")), "is no recording"),
        (lambda path: change(path, lambda lines: lines[0].update(version=9)), "has format version 9"),
        (lambda path: change(path, lambda lines: lines[1].update(setup={})), "Line 2 is no setup"),
        (lambda path: change(path, lambda lines: lines[2].update({"in": "dream"})), "Line 3 is no input"),
        (lambda path: change(path, lambda lines: lines[2].update(at_ms="noon")), "Line 3 is no input"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_recording_is_told_in_a_sentence(
    recording: Path, spoil: Callable[[Path], object], sentence: str
) -> None:
    spoil(recording)
    done = replay("replay", recording)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{recording}: ")
    assert sentence in line


def test_help_names_the_command() -> None:
    done = replay("--help")
    assert done.returncode == 0
    assert "replay" in done.stdout
    assert replay("replay").returncode == 2

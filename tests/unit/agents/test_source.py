"""Agents that change while a process runs: new sessions get the new ones, others keep theirs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from shared.agents.source import KEPT, AgentSource
from tests.unit.agents.test_catalog import change


def test_without_reload_nothing_changes(agents_dir: Path) -> None:
    source = AgentSource(agents_dir)
    first = source.current()
    change(agents_dir / "prompts/desk.md.j2", "You are the desk.", "You are the new desk.")
    assert source.current() is first


def test_with_it_new_sessions_get_what_is_new_and_others_keep_theirs(agents_dir: Path) -> None:
    source = AgentSource(agents_dir, reload=True)
    first = source.current()
    assert source.current() is first
    began_with = first.get("desk").version
    change(agents_dir / "prompts/desk.md.j2", "You are the desk.", "You are the new desk.")
    second = source.current()
    assert second is not first
    assert "new desk" in second.get("desk").instructions({"account": "1"})
    assert source.of_version("desk", began_with) is first
    assert source.of_version("desk", second.get("desk").version) is second
    assert source.of_version("desk", "unknown") is second


def test_what_is_broken_is_told_and_the_last_good_one_stays(
    agents_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = AgentSource(agents_dir, reload=True)
    first = source.current()
    change(agents_dir / "desk.yaml", "voice: cedar", "voice: tar")
    with caplog.at_level(logging.ERROR, "sidetone.agents"):
        assert source.current() is first
        assert source.current() is first
    assert len(caplog.records) == 1
    assert "voice: can't be 'tar'" in str(caplog.records[0].__dict__["detail"])
    change(agents_dir / "desk.yaml", "voice: tar", "voice: coral")
    assert source.current().get("desk").voice == "coral"


def test_old_versions_are_forgotten_in_the_end(agents_dir: Path) -> None:
    source = AgentSource(agents_dir, reload=True)
    first = source.current().get("desk").version
    for number in range(KEPT):
        (agents_dir / "prompts/desk.md.j2").write_text(f"Desk {'x' * number}. {{{{ account }}}}")
        source.current()
    assert source.of_version("desk", first) is source.newest

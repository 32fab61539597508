"""docs/realtime-emulator.md tells what is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from emulators.realtime.cli import options_help
from emulators.realtime.faults import FaultKind
from emulators.realtime.mind.rulebook import parse_rulebook
from emulators.realtime.mind.templates import FILTERS

GUIDE = (Path(__file__).parents[3] / "docs" / "realtime-emulator.md").read_text("utf-8")


def test_the_example_rule_file_is_valid() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert len(parse_rulebook(example, "guide").rules) == 7


def test_every_option_is_told_and_exists() -> None:
    exist = set(re.findall(r"--[a-z-]+", options_help())) - {"--help"}
    told = set(re.findall(r"`(--[a-z-]+)", GUIDE))
    assert told <= exist
    assert exist - told == {"--log-level"}


def test_every_fault_and_filter_is_told() -> None:
    for kind in get_args(FaultKind):
        assert f"`{kind}`" in GUIDE, kind
    for name in FILTERS:
        assert f"`{name}`" in GUIDE, name

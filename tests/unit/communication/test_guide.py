"""docs/communication-emulator.md tells what is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from aiohttp import web

from emulators.communication.authentication import Authentication
from emulators.communication.cli import options_help
from emulators.communication.faults import FaultKind
from emulators.communication.options import RESOURCE_ID, EmulatorOptions
from emulators.communication.phones import OUTCOMES
from emulators.communication.rest_routes import RestRoutes
from emulators.communication.service import CommunicationService
from emulators.communication.tokens import ISSUER, Forgery

GUIDE = (Path(__file__).parents[3] / "docs" / "communication-emulator.md").read_text("utf-8")


def test_every_option_is_told_and_exists() -> None:
    exist = set(re.findall(r"--[a-z-]+", options_help())) - {"--help"}
    told = set(re.findall(r"`(--[a-z-]+)", GUIDE))
    assert told <= exist
    assert exist - told == {"--log-level"}


def test_every_fault_outcome_and_forgery_is_told() -> None:
    for name in (*get_args(FaultKind), *OUTCOMES, *get_args(Forgery)):
        assert f"`{name}`" in GUIDE, name


def test_the_operations_that_may_fail_are_told_whole() -> None:
    options = EmulatorOptions(key="a2V5", speech=False)
    routes = RestRoutes(
        CommunicationService(options, "http://127.0.0.1"), Authentication("a2V5", accept_any_jwt=False)
    )
    routes.add_to(web.Application())
    (listed,) = re.findall(r"An `operation` is a pattern of: ([^.]*)\.", GUIDE)
    assert re.findall(r"`(\w+)`", listed) == routes.operations


def test_the_example_of_checking_tokens_names_the_defaults() -> None:
    assert f'audience="{RESOURCE_ID}"' in GUIDE
    assert f'issuer="{ISSUER}"' in GUIDE

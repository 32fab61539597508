from __future__ import annotations

import socket

import pytest

from emulators.local.errors import LocalStackError
from emulators.local.ports import Ports, is_free
from tests.support.ports import free_port


def test_the_defaults_are_the_documented_ports() -> None:
    ports = Ports.from_environment({})

    assert (ports.redis, ports.realtime, ports.functions, ports.worker, ports.traces) == (
        6390,
        9000,
        7071,
        8080,
        4318,
    )


def test_a_variable_replaces_one_port_and_an_empty_one_does_not() -> None:
    ports = Ports.from_environment({"SIDETONE_PORT_WORKER": "18080", "SIDETONE_PORT_REDIS": ""})

    assert (ports.worker, ports.redis) == (18080, 6390)


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "80.5"])
def test_a_value_that_is_no_port_is_named_with_its_variable(text: str) -> None:
    with pytest.raises(LocalStackError, match=r"SIDETONE_PORT_TRACES is .* no port; give a number"):
        Ports.from_environment({"SIDETONE_PORT_TRACES": text})


def test_two_parts_cannot_share_a_port() -> None:
    with pytest.raises(
        LocalStackError, match=r"Port 9000 is meant for both the realtime emulator and the Fun"
    ):
        Ports.from_environment({"SIDETONE_PORT_FUNCTIONS": "9000"})


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_told_with_its_part_and_the_variable_that_moves_it(address: str) -> None:
    with socket.socket() as holder:
        holder.bind((address, 0))
        holder.listen()
        port = holder.getsockname()[1]

        with pytest.raises(LocalStackError) as told:
            Ports(redis=free_port(), functions=port).require_free("redis", "functions")

    assert str(told.value) == (
        f"Port {port} for the Functions host is taken; "
        "stop what uses it or set SIDETONE_PORT_FUNCTIONS to a free one."
    )


def test_only_the_named_ports_are_looked_at() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]

        assert not is_free(taken)
        Ports(redis=taken, worker=free_port()).require_free("worker")

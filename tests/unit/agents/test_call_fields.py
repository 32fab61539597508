"""What an agent's file says about the call itself: telephone tools, consent, recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.agents.call_tools import (
    AddParticipant,
    CallTool,
    EndCall,
    RecordConsent,
    SendDigits,
    TransferCall,
)
from shared.agents.catalog import load_agents
from shared.agents.phone import Consent
from shared.session.log import ToolExecution
from shared.telephony.recording import Recording
from shared.tools.parameters import InvalidArgumentsError
from tests.unit.agents.test_catalog import change
from tests.unit.agents.test_problems import problems

FIELDS = """\
tools: [call.transfer, call.add_participant, call.send_digits, call.hold, call.resume, call.end, books.find]
transfer_to:
  billing: {to: "+1 (555) 0111", description: Questions about invoices., announcement: " One moment. "}
  front_desk: {to: "sip:desk@example.com"}
participants:
  interpreter: {to: "8:acs:1-2"}
consent: {announcement: 'This call is recorded. All right?', ask: true}
recording: {channels: mixed, format: mp3}
"""


def with_fields(root: Path, old: str = "", new: str = "") -> None:
    assert old in FIELDS
    change(
        root / "desk.yaml", "tools: [books.lend, books.find]\n", FIELDS.replace(old, new) if old else FIELDS
    )


def test_an_agent_with_everything(agents_dir: Path) -> None:
    with_fields(agents_dir)
    agent = load_agents(agents_dir).get("desk")
    assert agent.transfer_to["billing"].target.address == "+15550111"
    assert agent.transfer_to["billing"].announcement == "One moment."
    assert agent.participants["interpreter"].target.address == "8:acs:1-2"
    assert agent.consent == Consent(
        announcement="This call is recorded. All right?",
        ask=True,
        goodbye="Then I can't go on with this call. Goodbye.",
    )
    assert agent.recording == Recording(channels="mixed", format="mp3")
    assert list(agent.tools) == [
        "transfer_call",
        "add_participant",
        "send_digits",
        "hold_call",
        "resume_call",
        "end_call",
        "find",
        "record_consent",
    ]
    assert agent.tools["end_call"].execution is ToolExecution.CONVERSATION
    assert agent.tools["transfer_call"].execution is ToolExecution.DURABLE
    assert "+1555" not in repr(agent)


def test_the_model_is_offered_names_and_no_numbers(agents_dir: Path) -> None:
    with_fields(agents_dir)
    agent = load_agents(agents_dir).get("desk")
    schemas = {name: tool.function_schema() for name, tool in agent.tools.items()}
    assert schemas["transfer_call"]["parameters"] == {
        "type": "object",
        "properties": {
            "to": {
                "type": "string",
                "enum": ["billing", "front_desk"],
                "description": "billing: Questions about invoices.",
            }
        },
        "required": ["to"],
        "additionalProperties": False,
    }
    assert "5550111" not in json.dumps(schemas)


def test_the_model_is_told_to_announce_what_nobody_else_does(agents_dir: Path) -> None:
    with_fields(agents_dir)
    some = load_agents(agents_dir).get("desk").tools["transfer_call"].description
    assert "tell them whom you put them through to" in some
    change(agents_dir / "desk.yaml", '  front_desk: {to: "sip:desk@example.com"}\n', "")
    all_of_them = load_agents(agents_dir).get("desk").tools["transfer_call"].description
    assert "say nothing more: they are told" in all_of_them


@pytest.mark.parametrize(
    ("tool", "arguments", "wanted"),
    [
        ("transfer_call", '{"to": "billing"}', TransferCall(to="billing")),
        ("add_participant", '{"who": "interpreter"}', AddParticipant(who="interpreter")),
        ("send_digits", '{"digits": 12}', SendDigits(digits="12")),
        ("end_call", "", EndCall()),
        ("record_consent", '{"given": false}', RecordConsent(given=False)),
        ("transfer_call", '{"to": "+15550666"}', None),
        ("transfer_call", '{"to": "billing", "number": "+15550666"}', None),
        ("send_digits", '{"digits": "12;"}', None),
        ("record_consent", "{}", None),
    ],
)
def test_what_the_model_asks_for(agents_dir: Path, tool: str, arguments: str, wanted: object) -> None:
    with_fields(agents_dir)
    found = load_agents(agents_dir).get("desk").tools[tool]
    assert isinstance(found, CallTool)
    if wanted is None:
        with pytest.raises(InvalidArgumentsError):
            found.request(arguments)
    else:
        assert found.request(arguments) == wanted


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "call.transfer",
            "call.transfr",
            "desk.yaml:8: tools[0]: call.transfr: there is no such telephone tool. Did you mean call.t",
        ),
        (
            "call.transfer, ",
            "",
            "desk.yaml:9: transfer_to: has no use without call.transfer. Add it to tools, or leave this out.",
        ),
        (
            'participants:\n  interpreter: {to: "8:acs:1-2"}\n',
            "",
            "desk.yaml:8: tools: call.add_participant needs to know whom it may call.",
        ),
        ('"+1 (555) 0111"', "15550111", "desk.yaml:10: transfer_to.billing.to: must be text, not 15550111."),
        (
            '"+1 (555) 0111"',
            '"0111"',
            'desk.yaml:10: transfer_to.billing.to: must be a number with its country, as in "+15550111"',
        ),
        (
            "One moment.",
            "Hi {{ x }}.",
            "desk.yaml:10: transfer_to.billing.announcement: is spoken as it stands",
        ),
        ("front_desk:", "Front Desk:", "desk.yaml:11: transfer_to.Front Desk: must be lower-case letters"),
        (
            "announcement: 'This call is recorded. All right?'",
            "anouncement: x",
            "anouncement: is not a kno",
        ),
        ("ask: true", "ask: please", "desk.yaml:14: consent.ask: "),
        (
            "channels: mixed",
            "channels: unmixed",
            "desk.yaml:15: recording.format: must be wav where channels are",
        ),
        (
            "consent: {announcement: 'This call is recorded. All right?', ask: true}\n",
            "",
            "desk.yaml:14: recording: needs a consent section: callers have to know. Or set announced_el",
        ),
    ],
)
def test_one_mistake(agents_dir: Path, old: str, new: str, told: str) -> None:
    with_fields(agents_dir, old, new)
    found = problems(agents_dir)
    assert any(told in problem for problem in found), found


def test_recording_may_be_announced_elsewhere(agents_dir: Path) -> None:
    change(agents_dir / "desk.yaml", "voice: cedar", "recording: {announced_elsewhere: true}")
    assert load_agents(agents_dir).get("desk").recording == Recording(channels="unmixed", format="wav")


def test_no_module_may_be_called_like_the_telephone_tools(agents_dir: Path) -> None:
    (agents_dir / "tools" / "call.py").write_text("")
    assert problems(agents_dir) == [
        "tools/call.py: the module name call is taken by the telephone tools. Choose another."
    ]


def test_asking_takes_the_name_of_its_tool(agents_dir: Path) -> None:
    (agents_dir / "tools" / "books.py").write_text(
        "from shared.tools import tool\n\n\n@tool()\ndef record_consent() -> None:\n    '''Note it.'''\n"
    )
    change(
        agents_dir / "desk.yaml",
        "tools: [books.lend, books.find]",
        "tools: [books.record_consent]\nconsent: {announcement: Hear., ask: true}",
    )
    assert "desk.yaml:9: consent.ask: the agent has a tool called record_consent" in problems(agents_dir)[0]

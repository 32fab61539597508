"""Teams: what agents say of each other is checked, drawn, and made into tools, prompts and gates."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from realtime_worker.transcript_guard import TranscriptGuard
from shared.agents.catalog import load_agents
from shared.agents.graph import as_mermaid, as_text
from shared.agents.scene import Scene
from shared.agents.schema import SCHEMA_FILE, TOLD, schema_text
from shared.providers.session_config import realtime_session
from shared.session.model import Transport
from shared.tools.parameters import InvalidArgumentsError
from tests.unit.agents.test_problems import problems

REPOSITORY = Path(__file__).parents[3]

DOOR = """\
name: door
description: Lets people in.
instructions: |
  You are the door.
  Agent {{ agent.name }}, call {{ session.transport }} of {{ session.date }}.
tools: [keys.check, keys.look]
gates: {look: [known]}
handoffs:
  - to: vault-two
    description: Whoever has to go there.
    requires: [known]
    context:
      reason: {description: Why.}
      floor: {type: integer, required: false}
      wing: {enum: [east, west]}
    announce: This way.
guardrails:
  - name: promise
    phrases: ["It's guaranteed"]
    pattern: 'code \\d{4}'
    say: Let me put that differently.
limits: {max_turns: 30, max_handoffs: 3}
"""
VAULT = """\
name: vault-two
description: Keeps things
requires: [trusted]
prompt: vault.j2
environment: [VAULT_NAME]
handoffs:
  - to: door
"""
PROMPT = """\
Vault {{ environment.VAULT_NAME }} of {{ facts.holder or "somebody" }}.
{{ handoff.from_agent }}: {{ handoff.reason }}
"""
KEYS = '''\
from shared.tools import ToolContext, tool


@tool(sets_facts=["known", "trusted", "holder"])
def check(context: ToolContext) -> bool:
    """Check the key."""
    return True


@tool(requires=["trusted"])
def look() -> str:
    """Look."""
    return ""
'''


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAULT_NAME", "Seven")
    root = tmp_path / "agents"
    (root / "tools").mkdir(parents=True)
    for name, content in {
        "door.yaml": DOOR,
        "vault.yaml": VAULT,
        "vault.j2": PROMPT,
        "tools/keys.py": KEYS,
    }.items():
        (root / name).write_text(content)
    return root


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, old
    file.write_text(text.replace(old, new))


def test_a_handoff_is_a_tool_with_its_contract(team: Path) -> None:
    door = load_agents(team).get("door")
    (name,) = door.handoffs
    handoff = door.handoffs[name]
    assert name == "handoff_to_vault_two"
    schema = handoff.function_schema()
    assert schema["description"] == (
        "Hand the call to vault-two: Keeps things. Whoever has to go there. Needs first: known, trusted."
    )
    parameters = json.loads(json.dumps(schema["parameters"]))
    assert parameters["required"] == ["reason", "wing"]
    assert parameters["additionalProperties"] is False
    assert parameters["properties"]["wing"] == {"enum": ["east", "west"], "type": "string"}
    assert handoff.read('{"reason":"gold","wing":"east"}') == {"reason": "gold", "wing": "east"}
    assert handoff.read('{"reason":"gold","wing":"west","floor":"3"}')["floor"] == 3
    for wrong in ("{}", '{"reason":"x","wing":"north"}', '{"reason":"x","wing":"east","more":1}', "[", "7"):
        with pytest.raises(InvalidArgumentsError):
            handoff.read(wrong)
    with pytest.raises(InvalidArgumentsError):
        handoff.read(json.dumps({"reason": "x" * 501, "wing": "east"}))


def test_gates_of_the_file_come_on_top_of_the_tools_own(team: Path) -> None:
    door = load_agents(team).get("door")
    assert door.tools["look"].requires == ("trusted", "known")
    assert door.tools["check"].requires == ()
    assert (door.limits.max_turns, door.limits.max_handoffs) == (30, 3)


def test_a_prompt_knows_the_call_and_what_it_does_not_know_is_empty(team: Path) -> None:
    catalog = load_agents(team)
    scene = Scene(transport="webrtc", date="2026-11-21", facts={"holder": "Ann"}, from_agent="door",
                  context={"reason": "gold"})  # fmt: skip
    assert catalog.get("door").instructions({}, scene) == (
        "You are the door.\nAgent door, call webrtc of 2026-11-21."
    )
    assert catalog.get("vault-two").instructions({}, scene) == "Vault Seven of Ann.\ndoor: gold"
    assert catalog.get("vault-two").instructions({}) == "Vault Seven of somebody.\n:"


def test_a_version_covers_everyone_that_a_call_can_reach(team: Path) -> None:
    before = {agent.name: agent.version for agent in load_agents(team)}
    assert before["door"] == before["vault-two"]
    change(team / "vault.j2", "Vault", "The vault")
    after = {agent.name: agent.version for agent in load_agents(team)}
    assert after["door"] != before["door"]
    change(
        team / "door.yaml",
        "  - to: vault-two\n    description: Whoever has to go there.\n",
        "  - to: vault-two\n",
    )
    change(team / "vault.yaml", "handoffs:\n  - to: door\n", "")
    apart = {agent.name: agent.version for agent in load_agents(team)}
    assert apart["door"] != apart["vault-two"]


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("door.yaml", "to: vault-two", "to: valt-two",
         "door.yaml:9: handoffs[0].to: there is no agent valt-two. Did you mean vault-two?"),
        ("door.yaml", "to: vault-two", "to: door", "handoffs[0].to: an agent does not hand over to itself."),
        ("vault.yaml", "  - to: door\n", "  - to: door\n  - to: door\n",
         "vault.yaml:8: handoffs[1].to: door is there twice."),
        ("door.yaml", "requires: [known]", "requires: [knwon]",
         "door.yaml:11: handoffs[0].requires[0]: no tool of any agent sets the fact knwon. Did you mean"),
        ("vault.yaml", "requires: [trusted]", "requires: [rich]",
         "vault.yaml:3: requires[0]: no tool of any agent sets the fact rich."),
        ("door.yaml", "{look: [known]}", "{lock: [known]}",
         "door.yaml:7: gates.lock: the agent has no tool called lock. Did you mean look?"),
        ("door.yaml", "{look: [known]}", "{look: [Known]}",
         "door.yaml:7: gates.look[0]: must be tools' names"),
        ("door.yaml", "type: integer,", "type: int,", "handoffs[0].context.floor.type: can't be 'int'."),
        ("door.yaml", "{type: integer,", "{type: integer, enum: ['1'],",
         "handoffs[0].context.floor: only a string takes an enum or a pattern."),
        ("door.yaml", "announce:", "anounce:",
         "door.yaml:16: handoffs[0].anounce: is not a known field. Did you mean announce?"),
        ("door.yaml", "announce: This way.", 'announce: "{{ wing }}"',
         "handoffs[0].announce: is spoken as it stands"),
        ("door.yaml", "reason: {", "from_agent: {", "context.from_agent: is known anyway."),
        ("door.yaml", "'code \\d{4}'", "'code ('", "guardrails[0].pattern: is no regular expression"),
        ("door.yaml", "    phrases: [\"It's guaranteed\"]\n    pattern: 'code \\d{4}'\n", "",
         "door.yaml:18: guardrails[0]: says nothing about what must not be said. Write, for example"),
        ("vault.yaml", "[VAULT_NAME]", "[VAULT_NAMES]",
         "vault.yaml:5: environment[0]: VAULT_NAMES is not set."),
        ("vault.yaml", "[VAULT_NAME]", "[VAULT_KEY]", "vault.yaml:5: environment[0]: looks like a secret"),
        ("vault.yaml", "prompt: vault.j2", "prompt: vault.j2\ninstructions: x", "needs to be one of two."),
        ("vault.yaml", "prompt: vault.j2\n", "",
         "vault.yaml:1: prompt: needs to be one of two. Write prompt:"),
        ("vault.yaml", "prompt: vault.j2", "prompt: vault.j2\nvariables: {floor: {}}",
         "door.yaml:9: handoffs[0].to: vault-two needs the variables floor, which may not be given."),
        ("vault.yaml", "prompt: vault.j2", "prompt: vault.j2\nvariables: {facts: {default: ''}}",
         "variables.facts: facts is what prompts know already"),
        ("vault.yaml", "prompt: vault.j2", "prompt: vault.j2\nmodel: other",
         "handoffs[0].to: vault-two wants the model other, and a call keeps the one it began with."),
        ("vault.yaml", "prompt: vault.j2", "prompt: vault.j2\nconsent: {announcement: ' This  way.'}",
         "door.yaml:16: handoffs[0].announce: is what vault-two says first by its consent:"),
        ("vault.j2", "facts.holder", "facts.houlder",
         "vault.j2:1: uses facts.houlder, which is not known. Did you mean holder?"),
        ("vault.j2", "handoff.reason", "handoff.raeson",
         "vault.j2:2: uses handoff.raeson, which is not known. Did you mean reason?"),
        ("vault.j2", "environment.VAULT_NAME", "environment.HOME",
         "vault.j2:1: uses environment.HOME, which is not known."),
        ("vault.j2", "environment.VAULT_NAME", "environment['PATH']",
         "vault.j2:1: uses environment.PATH, which is not known."),
        ("vault.j2", "environment.VAULT_NAME", "environment[facts.holder]",
         "vault.j2:1: what it asks of environment must stand"),
        ("door.yaml", "session.transport", "session.transprt",
         "door.yaml:5: uses session.transprt, which is not known. Did you mean transport?"),
        ("door.yaml", "You are the door.", "You are {{ nobody }}.", "door.yaml:4: uses the variable nobody"),
        ("door.yaml", "You are the door.", "You are {% if %}.", "door.yaml:4: Expected an expression"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_file_line_field_and_fix(
    team: Path, file: str, old: str, new: str, told: str
) -> None:
    change(team / file, old, new)
    found = problems(team)
    assert any(told in problem for problem in found), found


def test_a_call_has_one_recording(team: Path) -> None:
    told = "consent: {announcement: This is recorded.}\nrecording: "
    change(
        team / "door.yaml", "description: Lets people in.\n", f"description: Lets people in.\n{told}{{}}\n"
    )
    change(team / "vault.yaml", "requires: [trusted]", f"requires: [trusted]\n{told}{{channels: mixed}}")
    found = problems(team)
    assert found == [
        "door.yaml:4: recording: vault-two, whom the call can be handed to, records mixed wav, and a call "
        "has one recording. Record in the same way in both.",
        "vault.yaml:5: recording: door, whom the call can be handed to, records unmixed wav, and a call "
        "has one recording. Record in the same way in both.",
    ]
    change(team / "vault.yaml", "{channels: mixed}", "{}")
    assert load_agents(team).get("vault-two").recording is not None


def test_the_check_tells_what_callers_hear_first(team: Path) -> None:
    consent = "consent: {announcement: This is recorded., ask: true}\nrecording: {}"
    change(team / "vault.yaml", "prompt: vault.j2", f"prompt: vault.j2\n{consent}")
    command = [sys.executable, "-m", "shared.agents", "check", str(team)]
    told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert "  asks callers first: This is recorded.\n  calls are recorded: unmixed wav\n" in told


def test_a_broken_neighbour_makes_no_false_complaints(team: Path) -> None:
    change(team / "door.yaml", "description: Lets people in.", "")
    assert problems(team) == [
        "door.yaml:1: description: is required. Write, for example: description: Answers members' questions "
        "about claims."
    ]


def test_the_team_is_drawn(team: Path) -> None:
    catalog = load_agents(team)
    assert as_text(catalog) == (
        "door\n"
        "  -> vault-two  [known, trusted]  tells reason, floor?, wing\n"
        "vault-two  [trusted]\n"
        "  -> door  (silent)\n"
    )
    assert as_mermaid(catalog) == (
        "flowchart LR\n"
        '  door["<b>door</b><br/>check<br/>look"]\n'
        '  vault_two["<b>vault-two</b>"]\n'
        "  door -- known, trusted --> vault_two\n"
        "  vault_two --> door\n"
    )


def test_check_draws_the_example_team() -> None:
    command = [sys.executable, "-m", "shared.agents", "check", "--mermaid"]
    drawn = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "member_services -- member_verified --> billing" in drawn.stdout


def test_the_schema_beside_the_agents_is_the_one_that_is_checked_against() -> None:
    published = (REPOSITORY / "agents" / SCHEMA_FILE).read_text()
    assert published == schema_text(), f"run: python -m shared.agents schema > agents/{SCHEMA_FILE}"
    properties = json.loads(published)["properties"]
    assert set(properties) == set(TOLD), "shared/agents/schema.py tells what every field means"


def test_the_guide_tells_of_every_field() -> None:
    guide = (REPOSITORY / "docs" / "agents.md").read_text()
    told = [row.split("|")[1] for row in guide.splitlines() if row.startswith("| `")]
    missing = [name for name in TOLD if not any(f"`{name}`" in cell for cell in told)]
    assert not missing, "docs/agents.md has no row for these fields"


def test_settings_of_the_model_reach_the_session(team: Path) -> None:
    change(
        team / "door.yaml",
        "tools: [keys.check, keys.look]",
        "tools: [keys.check, keys.look]\nmodel: fast\nspeed: 1.2\nreasoning_effort: low\n"
        "noise_reduction: far_field\ntranscription: {prompt: Maple Harbor}\nvoice: cedar",
    )
    change(team / "vault.yaml", "prompt: vault.j2", "prompt: vault.j2\nmodel: fast")
    session = realtime_session(
        load_agents(team).get("door"),
        variables={},
        model="other",
        transcription_model="whisper-1",
        transport=Transport.WEBRTC,
    )
    assert session["model"] == "fast"
    assert session["reasoning"] == {"effort": "low"}
    audio = json.loads(json.dumps(session["audio"]))
    assert audio["output"] == {"voice": "cedar", "speed": 1.2}
    assert audio["input"]["noise_reduction"] == {"type": "far_field"}
    assert audio["input"]["transcription"] == {
        "model": "whisper-1",
        "language": "en",
        "prompt": "Maple Harbor",
    }


def delta(response: str, text: str) -> dict[str, object]:
    return {"type": "response.output_audio_transcript.delta", "response_id": response, "delta": text}


def test_a_guardrail_hears_what_comes_in_pieces_and_once(team: Path) -> None:
    guard = TranscriptGuard(load_agents(team).get("door").guardrails)
    assert guard.heard(delta("r1", "Your refund is fine, it")) is None
    assert guard.heard({"type": "response.created", "response_id": "r1"}) is None
    broken = guard.heard(delta("r1", "\u2019s  GUARANTEED, sir"))
    assert broken is not None
    assert (broken[0].name, broken[0].instead, broken[1]) == ("promise", "Let me put that differently.", "r1")
    assert guard.heard(delta("r1", " it's guaranteed")) is None
    assert guard.heard(delta("r2", "It's guaran")) is None
    assert guard.heard(delta("r3", "teed. The code 1234")) is not None
    guard.follow(())
    assert guard.heard(delta("r4", "it's guaranteed")) is None


def test_a_phrase_is_whole_words(team: Path) -> None:
    change(team / "door.yaml", "It's guaranteed", "sure")
    guard = TranscriptGuard(load_agents(team).get("door").guardrails)
    assert guard.heard(delta("r1", "I measure the pressure.")) is None
    assert guard.heard(delta("r1", " Sure.")) is not None

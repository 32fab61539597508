"""Everything wrong with an agents directory is told at once, by file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.agents.catalog import AgentLoadError, load_agents
from tests.unit.agents.conftest import AGENT
from tests.unit.agents.test_catalog import change, write


def problems(root: Path) -> list[str]:
    """Return what loading complains about, as "file:line: field: message", files relative to `root`."""
    with pytest.raises(AgentLoadError) as caught:
        load_agents(root)
    assert caught.value.code == "agent_invalid"
    assert caught.value.detail == "\n".join(str(problem) for problem in caught.value.problems)
    return [str(problem).replace(f"{root}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("name: desk\n", "", "desk.yaml:1: name: is required. Write, for example: name: member_services"),
        ("name: desk", "name: The Desk", "desk.yaml:1: name: must be lower-case letters"),
        (
            "name: desk",
            "name: desk\nname: again",
            "desk.yaml:2: name: is there twice; the first is on line 1.",
        ),
        (
            "description:",
            "descripton:",
            "desk.yaml:2: descripton: is not a known field. Did you mean description?",
        ),
        ("Answers the desk.", '""', "desk.yaml:2: description: must not be empty."),
        ("Answers the desk.", "12", "desk.yaml:2: description: must be text, not 12. Put it in quotes."),
        ("voice: cedar", "voice: marine", "desk.yaml:4: voice: can't be 'marine'. Did you mean marin?"),
        ("voice: cedar", "voice: bob", "desk.yaml:4: voice: can't be 'bob'. Known are: alloy"),
        ("voice: cedar", "language: no", "desk.yaml:4: language: must be text, not False. Put it in quotes."),
        ("voice: cedar", "language: english", "desk.yaml:4: language: must be a two-letter ISO 639-1 code"),
        ("voice: cedar", "greeting: 'Hi {{ caller_name }}'", "desk.yaml:4: greeting: is spoken as it stands"),
        (
            "voice: cedar",
            "temperature: 0.7",
            "desk.yaml:4: temperature: is not a known field. Known are: cons",
        ),
        ('{default: ""}', "{default: 7}", "desk.yaml:6: variables.caller_name.default: must be text, not 7."),
        (
            '{default: ""}',
            "{defalt: ''}",
            "variables.caller_name.defalt: is not a known field. Did you mean default?",
        ),
        ("account: {}", "account: 7", "desk.yaml:7: variables.account: must be a mapping of fields."),
        (
            "account: {}",
            "Account: {}",
            "desk.yaml:7: variables.Account: must be lower-case letters, digits and _",
        ),
        ("account: {}", "1: {}", "desk.yaml:7: variables: a name must be text; put it in quotes."),
        ("[books.lend, books.find]", "books.lend", "desk.yaml:8: tools: must be a list."),
        ("[books.lend, books.find]", "[lend]", "desk.yaml:8: tools[0]: must be <module>.<function>"),
        (
            "books.find]",
            "books.fnd]",
            "tools[1]: books.fnd: tools/books.py has no tool called fnd. Did you mean find?",
        ),
        (
            "books.find]",
            "boks.find]",
            "tools[1]: boks.find: there is no module tools/boks.py. Did you mean books?",
        ),
        ("books.find]", "books.not_a_tool]", "not_a_tool is a function without @tool."),
        ("books.find]", "books.lend]", "desk.yaml:8: tools[1]: the agent has a tool called lend already."),
        (
            "type: semantic_vad",
            "type: vad",
            "desk.yaml:9: turn_detection: type can't be 'vad'. Known are: sem",
        ),
        ("  type: semantic_vad\n", "", "desk.yaml:9: turn_detection: needs a type."),
        (
            "eagerness: low",
            "eagerness: lo",
            "desk.yaml:11: turn_detection.eagerness: can't be 'lo'. Did you mean low?",
        ),
        ("eagerness: low", "threshold: 0.5", "desk.yaml:11: turn_detection.threshold: is not a known field."),
        (
            "max_duration_s: 600",
            "max_duration_s: 5",
            "desk.yaml:12: limits.max_duration_s: should be greater",
        ),
        (
            "max_duration_s: 600",
            "max_duration: 5",
            "limits.max_duration: is not a known field. Did you mean max_dur",
        ),
        (
            "tokens: 500",
            "tokens: many",
            "desk.yaml:13: max_output_tokens: must be a number from 1 to 4096, or inf",
        ),
        (
            "tokens: 500",
            "tokens: 5000",
            "desk.yaml:13: max_output_tokens: must be a number from 1 to 4096, or inf",
        ),
        (
            "prompts/desk.md.j2",
            "prompts/dusk.md.j2",
            "prompt: there is no file prompts/dusk.md.j2 in agents/. Did",
        ),
        ("prompts/desk.md.j2", "../desk.md.j2", "desk.yaml:3: prompt: there is no file ../desk.md.j2"),
        ("limits: {", "limits: [", "desk.yaml:12: is not valid YAML: while parsing a flow sequence"),
        ("limits:", "\tlimits:", "desk.yaml:12: is not valid YAML"),
        ("limits: {max_duration_s: 600}", "limits: &a {b: *a}", "an alias that contains itself"),
        (
            "600",
            "2026-13-45",
            "desk.yaml:12: limits.max_duration_s: 2026-13-45 can't be read; put it in quotes.",
        ),
    ],
)
def test_one_mistake_in_the_yaml(agents_dir: Path, old: str, new: str, told: str) -> None:
    change(agents_dir / "desk.yaml", old, new)
    found = problems(agents_dir)
    assert any(told in problem for problem in found), "\n".join(found)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "desk.yaml:1: name: is required."),
        (b"- name\n", "desk.yaml:1: must be a mapping, one `field: value` a line."),
        (b"name: desk\nvoice: \xff\n", "desk.yaml:2: is not UTF-8; save the file in that encoding."),
        (b"name: desk\nvoice: \x00\n", "desk.yaml:2: holds a character that YAML does not allow."),
        (
            b"a: &a [1,1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
            b"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n",
            "is not valid YAML: more than 10000 values.",
        ),
    ],
)
def test_files_that_are_no_agent(agents_dir: Path, content: bytes, told: str) -> None:
    (agents_dir / "desk.yaml").write_bytes(content)
    found = problems(agents_dir)
    assert any(told in problem for problem in found), "\n".join(found)


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        (
            "Hello\n{{ caller_nam }}",
            "desk.md.j2:2: uses the variable caller_nam, which the agent's `variables` do "
            "not declare. Did you mean caller_name?",
        ),
        ("Hello\n\n{% if account %}", "desk.md.j2:3: Unexpected end of template."),
        ("{{ account | shout }}", "desk.md.j2:1: No filter named 'shout'."),
        (
            'a\n{% include "prompts/no.md" %}',
            "desk.md.j2:2: includes prompts/no.md, which is not in agents/.",
        ),
        ('{% include "../secret" %}', "desk.md.j2:1: includes ../secret, which is not in agents/."),
        ("{% include account %}", "desk.md.j2:1: an included template's name must stand there, in quotes."),
    ],
)
def test_mistakes_in_a_prompt(agents_dir: Path, prompt: str, told: str) -> None:
    write(agents_dir / "prompts/desk.md.j2", prompt)
    (found,) = problems(agents_dir)
    assert f"prompts/{told}" in found


def test_mistakes_in_an_included_template(agents_dir: Path) -> None:
    write(agents_dir / "prompts/desk.md.j2", '{% include "prompts/part.md" %}{{ account }}')
    write(agents_dir / "prompts/part.md", "one\ntwo {{ who }}")
    (found,) = problems(agents_dir)
    assert found.startswith("prompts/part.md:2: uses the variable who")


@pytest.mark.parametrize("prompt", ["  \n", "{% if caller_name %}{{ 1 // 0 }}{% endif %}{{ 1 // 0 }}"])
def test_a_prompt_that_comes_to_nothing(agents_dir: Path, prompt: str) -> None:
    change(agents_dir / "desk.yaml", "account: {}", "account: {default: '1'}")
    write(agents_dir / "prompts/desk.md.j2", prompt)
    (found,) = problems(agents_dir)
    assert found.startswith("desk.yaml:3: prompt: ")


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("import os\ndef x(:\n", "tools/books.py:2: is not valid Python: "),
        (
            "import os\nraise ValueError('broken')\n",
            "tools/books.py:2: raises ValueError when imported: broken",
        ),
        ("import no_such_module\n", "tools/books.py:1: raises ModuleNotFoundError when imported: "),
        ("\nfrom .shelf import SHELF\n", "tools/books.py:2: raises ModuleNotFoundError when imported: "),
        ("raise SystemExit(3)\n", "tools/books.py:1: raises SystemExit when imported: 3"),
        (
            "from shared.tools import tool\n\n@tool()\ndef lend(title):\n    'Lend.'\n",
            'tools/books.py:3: the tool lend: the parameter title needs a type, such as "title: str".',
        ),
    ],
)
def test_mistakes_in_a_tool_module(agents_dir: Path, module: str, told: str) -> None:
    write(agents_dir / "tools/books.py", module)
    found = problems(agents_dir)
    assert any(problem.startswith(told) for problem in found), "\n".join(found)
    assert "desk.yaml:8: tools[0]: books.lend: tools/books.py can't be imported." in found
    assert len(found) == 3  # both references, and once where they lead to


def test_a_mistake_in_a_module_that_a_tool_imports(agents_dir: Path) -> None:
    write(agents_dir / "tools/shelves.py", "SHELF = 1\n\nSHELF.missing\n")
    assert any(
        problem.startswith("tools/shelves.py:3: raises AttributeError") for problem in problems(agents_dir)
    )


def test_all_problems_of_all_files_at_once(agents_dir: Path) -> None:
    change(agents_dir / "desk.yaml", "cedar", "marine")
    change(agents_dir / "desk.yaml", "low", "lo")
    write(agents_dir / "twin.yaml", AGENT.replace("desk.md", "twin.md"))
    write(agents_dir / "triplet.yaml", AGENT)
    found = problems(agents_dir)
    assert [problem.split(":")[0] for problem in found] == [
        "desk.yaml",
        "desk.yaml",
        "twin.yaml",
        "twin.yaml",
    ]
    assert "twin.yaml:1: name: desk is taken by triplet.yaml. Choose another." in found


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_a_directory_without_agents(tmp_path: Path, name: str) -> None:
    (found,) = problems(tmp_path / name)
    assert ("holds no agent" in found) == (name == "")
    assert "AGENTS_DIR" in found

"""`mcp_servers` of an agent's YAML: what is read, and what is refused without repeating a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.agents.catalog import load_agents
from shared.agents.problems import AgentLoadError
from shared.mcp.credentials import SecretStore
from shared.mcp.durable import durable_tool
from shared.mcp.server import ClientCredentials, HttpEndpoint, ManagedIdentity, SecretHeader, StdioCommand
from shared.tools.approval_gate import ApprovalAsked
from shared.tools.context import ToolContext
from shared.tools.execution import attempt_tool

# What is required has to be set by somebody.
VERIFY = """
from shared.tools import tool

@tool(sets_facts=["member_verified", "member_id"])
def verify() -> str:
    '''Verify.'''
    return ""
"""


def load(directory: Path, section: str) -> dict[str, object]:
    (directory / "prompt.j2").write_text("Be brief.")
    body = "name: desk\ndescription: A desk.\nprompt: prompt.j2\nmcp_servers:\n" + section
    (directory / "desk.yaml").write_text(body)
    (directory / "tools").mkdir()
    (directory / "tools" / "members.py").write_text(VERIFY)
    (directory / "door.yaml").write_text(
        "name: door\ndescription: Knows who comes.\nprompt: prompt.j2\ntools: [members.verify]\n"
    )
    return dict(load_agents(directory).get("desk").mcp_servers)


def problem(directory: Path, section: str) -> str:
    with pytest.raises(AgentLoadError) as refused:
        load(directory, section)
    return "\n".join(map(str, refused.value.problems))


def test_servers_are_read_with_their_credentials_by_name(tmp_path: Path) -> None:
    servers = load(
        tmp_path,
        """
  billing:
    url: ${BILLING_MCP_URL:-http://127.0.0.1:7090/mcp}
    tools: [list_invoices, pay_*]
    auth: {type: bearer, secret: billing-mcp-token}
    arguments: {member_id: member_id}
    requires: [member_verified]
  claims: {url: "https://claims.example/mcp", tools: ["*"], auth: {type: managed_identity, scope: "api://c/.default"}}
  tax:
    url: https://tax.example/mcp
    tools: [rate]
    auth: {type: client_credentials, client_id: c1, client_secret: tax-secret, issuer: "https://login.example"}
  files: {command: [python, -m, files], tools: [read]}
""",
    )
    billing = servers["billing"]
    assert billing.connection.transport == HttpEndpoint(url="${BILLING_MCP_URL:-http://127.0.0.1:7090/mcp}")
    assert billing.connection.credential == SecretHeader(secret="billing-mcp-token")
    assert billing.requires == ("member_verified", "member_id")
    assert billing.allows("pay_invoice")
    assert not billing.allows("drop")
    assert servers["claims"].connection.credential == ManagedIdentity(scope="api://c/.default")
    assert isinstance(servers["tax"].connection.credential, ClientCredentials)
    assert servers["files"].connection.transport == StdioCommand(command=("python", "-m", "files"))


SECRET = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (f"auth: {{type: bearer, secret: {SECRET}}}", "never the secret itself"),
        (f"auth: {{type: bearer, secret: ghp_{SECRET}}}", "never the secret itself"),
        (f"auth: {{type: bearer, token: {SECRET}}}", "a credential is never written here"),
        (f"token: {SECRET}", "a credential is never written here"),
        (f"headers: {{Authorization: {SECRET}}}", "a credential is never written here"),
        ("auth: {type: bearer, secret: 123456789}", "string"),
        ("auth: {type: magic}", "Known are: bearer"),
        ("timeout_s: 90", "less than or equal to 29"),
        ("time_out_s: 9", "Did you mean timeout_s?"),
        ("arguments: {member_id: Member}", "snake_case"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_field_and_no_secret_is_repeated(
    tmp_path: Path, section: str, told: str
) -> None:
    written = f"  billing:\n    url: https://b.example/mcp\n    tools: [a]\n    {section}\n"
    message = problem(tmp_path, written)
    assert ":8: mcp_servers.billing." in message
    assert told in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"https://user:{SECRET}@b.example/mcp", "must not hold a user or password"),
        (f"https://b.example/mcp?code={SECRET}", "must not hold a credential"),
        ("b.example/mcp", "https://"),
    ],
)
def test_an_address_holds_no_credential(tmp_path: Path, url: str, told: str) -> None:
    message = problem(tmp_path, f"  billing: {{url: '{url}', tools: [a]}}\n")
    assert told in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("{tools: [a]}", "either a url or"),
        ("{url: 'https://b.example', command: [x], tools: [a]}", "either a url or"),
        ("{url: 'https://b.example'}", "tools: is required"),
        ("{url: 'https://b.example', tools: []}", "at least 1 item"),
    ],
)
def test_a_server_is_somewhere_and_is_allowed_something(tmp_path: Path, section: str, told: str) -> None:
    assert told in problem(tmp_path, f"  billing: {section}\n")


async def test_a_tool_can_need_an_approval_by_what_the_agent_says_of_it(tmp_path: Path) -> None:
    load(
        tmp_path,
        """
  billing:
    url: http://127.0.0.1:9/mcp
    tools: [refund_payment, list_invoices]
    durable: [refund_payment]
    approvals:
      refund_payment: {question: "Refund {amount} dollars of {invoice}?", above: {amount: 100}, expires_s: 60}
""",
    )
    agent = load_agents(tmp_path).get("desk")
    found = durable_tool(agent, "billing__refund_payment", SecretStore({}, ""), {})
    assert found is not None
    context = ToolContext(session_id="s", tool_call_id="c", idempotency_key="k", agent="desk")
    asked = await attempt_tool(found, '{"amount": 250, "invoice": "INV-1"}', context)
    assert asked == ApprovalAsked(question="Refund 250 dollars of INV-1?", expires_s=60)
    assert isinstance(await attempt_tool(found, '{"invoice": "INV-1"}', context), ApprovalAsked)


@pytest.mark.parametrize(
    ("approvals", "told"),
    [
        ('{list_invoices: {question: "Sure?"}}', "only if it is listed under durable"),
        ("{refund_payment: {}}", "is required"),
        ('{refund_payment: {question: "{amount:.2f}?"}}', "not the name of a parameter"),
        ('{refund_payment: {question: "Sure?", expires_s: 0}}', "greater than 0"),
    ],
)
def test_a_rule_that_could_not_be_kept_is_refused(tmp_path: Path, approvals: str, told: str) -> None:
    section = f"""
  billing:
    url: http://127.0.0.1:9/mcp
    tools: [refund_payment, list_invoices]
    durable: [refund_payment]
    approvals: {approvals}
"""
    assert told in problem(tmp_path, section)


@pytest.mark.parametrize(
    ("where", "name", "found"),
    [
        ("url: 'https://b.example', tools: [pay, 'get/*']", "billing__pay", "pay"),
        ("url: 'https://b.example', tools: ['get/it']", "billing__get_it", "get/it"),
        ("url: 'https://b.example', tools: ['*']", "billing__refund", "refund"),
        ("url: 'https://b.example', tools: ['*'], durable: ['re.fund']", "billing__re_fund", "re.fund"),
        ("url: 'https://b.example', tools: [pay]", "billing__refund", None),
        ("url: 'https://b.example', tools: [pay], durable: [refund]", "billing__refund", None),
        ("url: 'https://b.example', tools: ['*']", "claims__pay", None),
        ("url: 'https://b.example', tools: ['*']", "billing", None),
        ("command: [billing], tools: ['*']", "billing__pay", None),
    ],
)
def test_any_tool_of_a_server_with_a_url_can_become_durable(
    tmp_path: Path, where: str, name: str, found: str | None
) -> None:
    load(tmp_path, f"  billing: {{{where}}}\n")
    tool = durable_tool(load_agents(tmp_path).get("desk"), name, SecretStore({}, ""), {})
    assert (tool.description if tool else None) == found

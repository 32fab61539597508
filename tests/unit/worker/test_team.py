"""The agents of a session as its worker makes them ready: what each says first, and who is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from realtime_worker.conversation.consent import ConsentTerms
from realtime_worker.team import Team
from shared.agents.catalog import load_agents
from shared.session.model import Session, SessionState, Standing, Transport
from shared.settings import WorkerSettings

DOOR = "name: door\ndescription: Lets people in.\ninstructions: You are the door.\nhandoffs: [{to: hall}]\n"
HALL = "name: hall\ndescription: Large.\ninstructions: A hall.\nhandoffs: [{to: vault}, {to: door}]\n"
VAULT = "name: vault\ndescription: Keeps things.\ninstructions: You are the vault.\n"
TELLS = "consent: {announcement: 'This is  recorded.', goodbye: Bye.}\n"
RECORDS = "recording: {announced_elsewhere: true}\n"


def team(root: Path, *, door: str = "", vault: str = "", stranger: str = "") -> Team:
    alone = "name: alone\ndescription: Knows nobody.\ninstructions: You are alone.\n"
    files = {"door": DOOR + door, "hall": HALL, "vault": VAULT + vault, "alone": alone + stranger}
    for name, content in files.items():
        (root / f"{name}.yaml").write_text(content, encoding="utf-8")
    session = Session(
        session_id="ses_x",
        state=SessionState.ACTIVE,
        transport=Transport.WEBRTC,
        agent="door",
        agent_version="",
        principal="p",
        created_at_ms=0,
    )
    return Team(load_agents(root), session, WorkerSettings.model_construct(), epoch=1)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, False),
        ({"stranger": TELLS}, False),  # whom the call can't be handed to
        ({"door": TELLS}, True),
        ({"vault": TELLS}, True),
        ({"vault": RECORDS}, True),
    ],
)
def test_whether_the_whole_log_is_needed(tmp_path: Path, files: dict[str, str], expected: bool) -> None:
    assert team(tmp_path, **files).asks_or_records is expected


def test_each_agent_has_its_own_terms(tmp_path: Path) -> None:
    ours = team(tmp_path, vault=TELLS + "recording: {}\n")
    door = ours.role(Standing(agent="door", agent_version=""))
    assert (door.consent, door.records) == (None, False)
    vault = ours.role(Standing(agent="vault", agent_version=""))
    assert vault.records
    assert isinstance(vault.consent, ConsentTerms)
    assert (vault.consent.announcement, vault.consent.goodbye) == ("This is  recorded.", "Bye.")


def test_an_announcement_is_named_by_its_words(tmp_path: Path) -> None:
    again = "consent: {announcement: This is recorded., ask: true}\n"
    names = [
        role.consent.name
        for told in (TELLS, again, again.replace("This", "That"))
        if (role := team(tmp_path, vault=told).role(Standing(agent="vault", agent_version=""))).consent
    ]
    assert names[0] == names[1] != names[2]

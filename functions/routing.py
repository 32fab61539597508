"""Which agent answers, where that is left to the rules of `agents.router.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functions.dependencies import Dependencies
    from shared.agents.router import Arrival


async def chosen_agent(needs: Dependencies, named: str, arrival: Arrival) -> str:
    """Return the agent that answers: the one that is named, or the rules' choice.

    Raises `no_route`, `agent_invalid`.
    """
    from shared.agents.router import ROUTER

    return (await needs.router()).choose(arrival) if named == ROUTER else named


async def taken_variables(
    needs: Dependencies, named: str, agent: str, variables: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the variables that are for the agent: those that it declares, where the rules chose it."""
    if named == agent:
        return variables
    return (await needs.agents()).get(agent).taken(variables)

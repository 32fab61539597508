"""Tokens: a client gets what it needs to call an agent, and nothing of the agent."""

from __future__ import annotations

from http import HTTPStatus

import azure.durable_functions as df
import azure.functions as func

from functions.endpoint import Call, durable_endpoint
from functions.orchestrations import Orchestrations
from functions.requests import json_body
from functions.responses import json_answer
from functions.routes import browser_calls as routes
from functions.session_start import now_ms, started_session

blueprint = df.Blueprint()


@durable_endpoint(blueprint, routes.CREATE_TOKEN)
async def create_token(call: Call, orchestrations: Orchestrations) -> func.HttpResponse:
    """Start a session and mint the client's credentials for it."""
    from functions.bodies import ClientSecretView, TokenGranted, TokenRequest

    needs = call.dependencies
    settings = needs.settings
    await needs.limits.check_rate(call.caller.principal, "start", settings.token_rate_per_minute)
    asked = json_body(call.request, TokenRequest)
    async with started_session(
        call,
        orchestrations,
        agent_name=asked.agent,
        variables=asked.variables,
        language=asked.language,
        # The client may use its secret in the last second of it, and then has to be connected.
        connect_within_s=settings.client_secret_ttl_s + settings.connect_timeout_s,
    ) as started:
        secret = await needs.provider.create_client_secret(
            started.provider_session, settings.client_secret_ttl_s
        )
        session_id = started.session.session_id
        return json_answer(
            TokenGranted(
                session_id=session_id,
                agent=started.agent.name,
                client_secret=ClientSecretView(value=secret.value, expires_at=secret.expires_at),
                calls_url=needs.provider.calls_url,
                client_token=needs.tokens.issue_client_token(session_id, settings.client_token_ttl_s),
                expires_at=now_ms() // 1000 + settings.client_token_ttl_s,
            ),
            status=HTTPStatus.CREATED,
        )

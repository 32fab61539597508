"""Histories of orchestrations hold tool arguments: they go when the sessions they belong to do.

Redis expires sessions by itself. The Durable history has no expiry of its own on every backend,
so a timer purges what finished longer ago than sessions are kept.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import azure.durable_functions as df
import azure.functions as func

blueprint = df.Blueprint()

PURGE_HISTORIES = "purge_histories"
# Once a day, at a minute that is not everybody's.
SCHEDULE = "0 17 3 * * *"
_FINISHED = [
    df.OrchestrationRuntimeStatus.Completed,
    df.OrchestrationRuntimeStatus.Failed,
    df.OrchestrationRuntimeStatus.Terminated,
]
# Before any history of ours: the purge asks for a beginning.
_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


async def purge_histories(timer: func.TimerRequest, durable_client: df.DurableOrchestrationClient) -> None:
    """Delete the histories of orchestrations that began before the retention time and are finished."""
    from functions.dependencies import dependencies
    from shared.telemetry.logs import get_logger

    needs = await dependencies()
    before = datetime.now(UTC) - timedelta(seconds=needs.settings.session_retention_s)
    purged = await durable_client.purge_instance_history_by(_BEGINNING, before, _FINISHED)
    get_logger("functions.retention").info("histories_purged", extra={"instances": purged.instances_deleted})


blueprint.function_name(name=PURGE_HISTORIES)(
    blueprint.timer_trigger(arg_name="timer", schedule=SCHEDULE)(
        blueprint.durable_client_input(client_name="durable_client")(purge_histories)
    )
)

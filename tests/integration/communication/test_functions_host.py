"""An Event Grid trigger of a function app on the local Functions host takes the emulator's events."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.communication.conftest import Phone
from tests.support.eventually import eventually
from tests.support.functions_host import FunctionsHost

APP = """
import json, os
import azure.functions as func

app = func.FunctionApp()

def note(kind, data):
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write(json.dumps([kind, data["correlationId"]]) + "\\n")

@app.event_grid_trigger(arg_name="event")
def on_event(event: func.EventGridEvent) -> None:
    note(event.event_type, event.get_json())

@app.event_grid_trigger(arg_name="event")
def on_cloud_event(event: func.CloudEvent) -> None:
    note(event.type, event.get_json())
"""
HOST = '{"version": "2.0"}'


async def test_the_trigger_gets_incoming_calls_in_both_schemas(phone: Phone, tmp_path: Path) -> None:
    app_dir = tmp_path / "app"
    app_dir.mkdir()
    (app_dir / "function_app.py").write_text(APP)
    (app_dir / "host.json").write_text(HOST)
    host = FunctionsHost(app_dir=app_dir, state_dir=tmp_path)
    host.start()
    try:
        for name, schema in (("on_event", "eventgrid"), ("on_cloud_event", "cloudevents")):
            url = f"{host.origin}/runtime/webhooks/eventgrid?functionName={name}"
            body = {"url": url, "schema": schema, "name": name.replace("_", "-")}
            await phone.ask("POST", "event-grid/subscriptions", body)
        call = await phone.ring()
        await eventually(lambda: len(host.journal_lines()) == 2, within=10)
        assert [json.loads(line) for line in host.journal_lines()] == [
            ["Microsoft.Communication.IncomingCall", call["correlation_id"]]
        ] * 2

        async def delivered() -> bool:
            deliveries = (await phone.ask("GET", "event-grid"))["deliveries"][-2:]
            return [(one["state"], one["attempts"]) for one in deliveries] == [("delivered", [202])] * 2

        await eventually(delivered)
    finally:
        for name in ("on-event", "on-cloud-event"):
            await phone.ask("DELETE", f"event-grid/subscriptions/{name}")
        host.stop()

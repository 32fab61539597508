"""Event Grid and timer triggers."""

import json

import azure.functions as func
import journal
from azure.durable_functions import Blueprint

bp = Blueprint()


@bp.event_grid_trigger(arg_name="event")
def on_event(event: func.EventGridEvent) -> None:
    data = event.get_json()
    journal.write(f"event {event.id} {event.event_type} {json.dumps(data)}")
    if data.get("fail"):
        raise RuntimeError("event refused")


@bp.event_grid_trigger(arg_name="event")
async def on_cloud_event(event: func.CloudEvent) -> None:
    journal.write(f"cloud event {event.id} {event.type} {event.source}")


@bp.timer_trigger(schedule="* * * * * *", arg_name="timer")
def every_second(timer: func.TimerRequest) -> None:
    journal.write(f"tick past_due={timer.past_due}")


@bp.timer_trigger(schedule="%HOURLY%", arg_name="timer", run_on_startup=True)
def hourly(timer: func.TimerRequest) -> None:
    journal.write(f"hourly past_due={timer.past_due} status={'Last' in timer.schedule_status}")

"""A local Azure Functions host for Python function apps (v2 programming model).

It loads an unmodified `function_app.py` and does what the Functions host and the Durable
Functions extension do around it: HTTP, Event Grid and timer triggers, keys, orchestrations,
activities, entities and the management API, with all durable state in one SQLite file.

Known differences from Azure are listed in `docs/functions-host.md`. One is on purpose: an
orchestrator that calls an activity, sub-orchestrator or entity which does not exist fails
with a message that names it; in Azure such an instance stays Running for ever.
"""

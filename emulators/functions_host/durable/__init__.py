"""The Durable Functions extension's side of the out-of-process protocol, history in SQLite.

Modules: `history` (events), `program` (what an orchestrator answers), `replay` (runs that
program against the history), `store` (SQLite), `engine` (dispatches episodes, activities,
entities and timers), `management_api` (the HTTP API) and `client_payload` (client binding).
"""

"""The session: its record, its event log, and the commands that reach it."""

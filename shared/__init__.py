"""What both planes agree on: session model and store, agents, tools, providers, security, telemetry."""

__version__ = "0.1.0"

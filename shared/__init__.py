"""What both planes agree on: session model and store, agents, tools, providers, security, telemetry."""

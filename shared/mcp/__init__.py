"""MCP servers as a source of tools: connections, what is offered to the model, and calls."""

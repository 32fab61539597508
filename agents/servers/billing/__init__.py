"""The billing system of Maple Harbor Health, an invented health insurer, as an MCP server."""

"""Systems of the example team that are no part of Sidetone: what agents reach over MCP."""

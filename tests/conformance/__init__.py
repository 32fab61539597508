"""The public MCP conformance suite (npm) against our client and our server; `make conformance`."""

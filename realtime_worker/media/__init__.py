"""Calls whose audio passes through the worker: a carrier's media socket, and what is heard of the agent."""

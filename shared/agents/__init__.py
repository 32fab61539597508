"""Agents: what a directory of YAML, prompts and tools says a caller can talk to."""

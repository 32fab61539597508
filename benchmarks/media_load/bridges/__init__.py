"""Bridges without a conversation: what the worker is compared with."""

"""Recordings of sessions: what went into a conversation and what came out, without what was said."""

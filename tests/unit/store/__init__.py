"""The parts of the session store that need no Redis."""

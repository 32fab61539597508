"""Redis: the only place where a live session's state is kept. Keys in keys.py, transitions in scripts.py."""

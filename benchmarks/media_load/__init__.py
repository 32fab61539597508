"""What it costs to carry a call's audio, beside the least that a bridge can do, and how late it makes it."""

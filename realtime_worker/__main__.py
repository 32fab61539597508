"""`python -m realtime_worker`: hold calls. Settings come from the environment."""

from __future__ import annotations

import sys

from realtime_worker.worker import main

if __name__ == "__main__":
    sys.exit(main())

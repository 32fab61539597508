"""The agents of a directory, read once; in development read again whenever a file there has changed."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from shared.agents.catalog import AgentCatalog, load_agents
from shared.errors import SidetoneError

# How many versions are kept for the sessions that began with them.
KEPT = 8

_log = logging.getLogger("sidetone.agents")


class AgentSource:
    """Where a process gets its agents. A session keeps the version that it began with, while that is kept.

    reload: look for changes whenever agents are asked for. What is broken then is logged, and the last good
    version stays. Threads may share it.
    """

    def __init__(self, directory: str | Path, *, reload: bool = False) -> None:
        """Raises AgentLoadError."""
        self._directory = Path(directory)
        self._reload = reload
        self._seen = self._state() if reload else {}
        self._versions = [load_agents(directory)]
        self._reading = threading.Lock()

    @property
    def newest(self) -> AgentCatalog:
        """The agents as they were last read."""
        return self._versions[-1]

    def current(self) -> AgentCatalog:
        """Return the agents as they are now. Reads files where `reload` is on: call it in a thread."""
        if not self._reload:
            return self.newest
        with self._reading:
            state = self._state()
            if state != self._seen:
                self._seen = state
                self._read_again()
            return self.newest

    def of_version(self, agent: str, version: str) -> AgentCatalog:
        """Return the agents that a session began with; the current ones where those are not kept here."""
        current = self.current()
        for catalog in reversed(self._versions):
            if agent in catalog.names and catalog.get(agent).version == version:
                return catalog
        return current

    def _read_again(self) -> None:
        try:
            self._versions = [*self._versions, load_agents(self._directory)][-KEPT:]
        except SidetoneError as error:
            _log.error("changed agents can't be used", extra={"code": error.code, "detail": error.detail})
        else:
            _log.info("agents read again", extra={"agents": list(self.newest.names)})

    def _state(self) -> dict[str, tuple[int, int]]:
        """Return what changes with the files: their times and sizes."""
        state: dict[str, tuple[int, int]] = {}
        for file in self._directory.rglob("*"):
            if "__pycache__" not in file.parts and file.is_file():
                told = file.stat()
                state[str(file)] = told.st_mtime_ns, told.st_size
        return state

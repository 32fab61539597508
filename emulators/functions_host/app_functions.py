"""The functions of the loaded app, found by name or by the name their trigger gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emulators.functions_host.app_model import DURABLE_TRIGGERS, Function

_DURABLE_NAME_KEY = {
    "orchestrationTrigger": "orchestration",
    "activityTrigger": "activity",
    "entityTrigger": "entityName",
}
_KIND = {
    "orchestrationTrigger": "orchestrator",
    "activityTrigger": "activity",
    "entityTrigger": "entity",
}


class AppFunctions:
    """Look-ups over an app's functions; function names compare without case, as in Azure."""

    def __init__(self, functions: Sequence[Function]) -> None:
        self._by_name = {f.name.casefold(): f for f in functions}
        self._durable: Mapping[str, Mapping[str, Function]] = {
            trigger: {_durable_name(f).casefold(): f for f in functions if f.trigger_type == trigger}
            for trigger in DURABLE_TRIGGERS
        }

    def named(self, name: str) -> Function | None:
        return self._by_name.get(name.casefold())

    def all(self) -> Sequence[Function]:
        """Return every function in the order of their names."""
        return sorted(self._by_name.values(), key=lambda f: f.name.casefold())

    def with_trigger(self, trigger: str) -> Sequence[Function]:
        """Return the functions with a trigger type, in the order of their names."""
        return [f for f in self.all() if f.trigger_type == trigger]

    def durable(self, name: str, trigger: str) -> Function | None:
        return self._durable[trigger].get(name.casefold())

    def explain_missing(self, name: str, trigger: str) -> str | None:
        """Return the extension's complaint about a function that cannot be called, None if it can."""
        if self.durable(name, trigger) is not None:
            return None
        kind = _KIND[trigger]
        known = ", ".join(f"'{_durable_name(f)}'" for f in self._durable[trigger].values())
        about = (
            f"The following are the known {kind} functions: {known}."
            if known
            else f"No {kind} functions exist."
        )
        return (
            f"The function '{name}' doesn't exist, is disabled, or is not an {kind} function. "
            f"Additional info: {about}"
        )


def _durable_name(function: Function) -> str:
    """The trigger may name the function for Durable; else it goes by its own name."""
    return str(function.trigger.get(_DURABLE_NAME_KEY[function.trigger_type]) or function.name)

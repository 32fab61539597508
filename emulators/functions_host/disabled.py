"""Functions switched off by a setting: `AzureWebJobs.<name>.Disabled=true`."""

from __future__ import annotations

import os


def is_disabled(function_name: str) -> bool:
    """Whether a function is disabled; the double underscore form is for shells that allow no dots."""
    names = (f"AzureWebJobs.{function_name}.Disabled", f"AzureWebJobs__{function_name}__Disabled")
    return any(os.environ.get(name, "").lower() in ("true", "1") for name in names)

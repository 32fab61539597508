"""Realtime model services behind one small protocol, chosen by settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.providers.protocol import RealtimeProvider
    from shared.settings import CommonSettings

OPENAI_BASE_URL = "https://api.openai.com/v1"


def make_provider(settings: CommonSettings, *, ping_s: float = 20.0) -> RealtimeProvider:
    """Return the provider that `settings` choose. No request is made."""
    from shared.providers.credentials import ApiKey, EntraToken
    from shared.providers.realtime_api import RealtimeApi

    if settings.provider == "openai":
        key = settings.openai_api_key
        return RealtimeApi(
            name="openai",
            base_url=OPENAI_BASE_URL,
            credential=ApiKey(value=key.get_secret_value() if key else "", azure=False),
            model=settings.realtime_model,
            ping_s=ping_s,
        )
    key = settings.azure_openai_api_key
    return RealtimeApi(
        name="azure_openai",
        base_url=f"{settings.azure_openai_endpoint.rstrip('/')}/openai/v1",
        credential=(
            ApiKey(value=key.get_secret_value(), azure=True)
            if key is not None
            else EntraToken(settings.azure_openai_scope)
        ),
        model=settings.realtime_model,
        ping_s=ping_s,
    )

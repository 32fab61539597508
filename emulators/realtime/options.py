"""How an emulator behaves."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class EmulatorOptions:
    """Settings of one emulator process.

    `speech_factor` makes virtual speech and timers faster than real time (tests); real media stays at 1.
    `generation_speed` is how much faster than speech silent audio is generated.
    """

    api_keys: tuple[str, ...] = field(repr=False)
    accept_any_jwt: bool = False
    speech: bool = True
    media: bool = True
    speech_factor: float = 1.0
    generation_speed: float = 4.0
    session_minutes: float = 60.0
    sideband_audio: bool = False
    greet_sidebands: bool = True
    seed: int | None = None
    event_log: int = 300
    ring_seconds: float = 30.0
    webhook_attempts: int = 5
    webhook_first_delay: float = 0.5
    host: str = "127.0.0.1"
    port: int = 9000
    media_addresses: tuple[str, ...] = ("127.0.0.1",)

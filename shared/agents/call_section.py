"""`transfer_to`, `participants`, `consent` and `recording` of an agent's YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from shared.agents.phone import Consent, Destination
from shared.errors import InvalidRequestError
from shared.telephony.outbound import parse_target
from shared.telephony.recording import Recording

DEFAULT_GOODBYE = "Then I can't go on with this call. Goodbye."
# What is said word for word before anything else can be; nobody listens to more.
LONGEST_SPOKEN = 1_000


def _target(text: str) -> str:
    try:
        return parse_target(text).address
    except InvalidRequestError:
        raise ValueError(
            'must be a number with its country, as in "+15550111", or a user: 8:acs:… or sip:…'
        ) from None


DestinationName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
TargetName = Annotated[str, AfterValidator(_target)]
Spoken = Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST_SPOKEN)]
Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_SPOKEN)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DestinationSection(_Section):
    to: TargetName
    description: str = ""
    announcement: Spoken = ""


class ParticipantSection(_Section):
    to: TargetName
    description: str = ""


class ConsentSection(_Section):
    announcement: Said
    ask: bool = False
    goodbye: Spoken = DEFAULT_GOODBYE


class RecordingSection(_Section):
    channels: Literal["mixed", "unmixed"] = "unmixed"
    format: Literal["wav", "mp3"] = "wav"
    announced_elsewhere: bool = False


class CallFields(_Section):
    """The fields of an agent's file that are about the call itself."""

    transfer_to: dict[DestinationName, DestinationSection] = Field(
        default_factory=dict[str, DestinationSection]
    )
    participants: dict[DestinationName, ParticipantSection] = Field(
        default_factory=dict[str, ParticipantSection]
    )
    consent: ConsentSection | None = None
    recording: RecordingSection | None = None

    def destinations(self) -> dict[str, Destination]:
        """Return whom callers may be handed over to."""
        return {
            name: Destination(
                target=parse_target(written.to),
                description=written.description.strip(),
                announcement=written.announcement,
            )
            for name, written in self.transfer_to.items()
        }

    def invited(self) -> dict[str, Destination]:
        """Return who may be taken into the call."""
        return {
            name: Destination(target=parse_target(written.to), description=written.description.strip())
            for name, written in self.participants.items()
        }

    def consent_terms(self) -> Consent | None:
        written = self.consent
        if written is None:
            return None
        return Consent(announcement=written.announcement, ask=written.ask, goodbye=written.goodbye)

    def recorded(self) -> Recording | None:
        written = self.recording
        return Recording(channels=written.channels, format=written.format) if written else None

    def spoken(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that are said word for word, with what is said."""
        if self.consent:
            yield "consent.announcement", self.consent.announcement
            yield "consent.goodbye", self.consent.goodbye
        for name, written in self.transfer_to.items():
            yield f"transfer_to.{name}.announcement", written.announcement

    def problems(self, tools: list[str]) -> Iterator[tuple[str, str, str]]:
        """Yield what does not fit together: field, message and fix. tools: the references in `tools`."""
        needs: Mapping[str, tuple[str, Mapping[str, object]]] = {
            "transfer_to": ("call.transfer", self.transfer_to),
            "participants": ("call.add_participant", self.participants),
        }
        for field, (tool, named) in needs.items():
            if tool in tools and not named:
                example = 'billing: {to: "+15550111"}'
                yield "tools", f"{tool} needs to know whom it may call.", f"Name them: {field}: {{{example}}}"
            if named and tool not in tools:
                yield field, f"has no use without {tool}.", "Add it to tools, or leave this out."
        recording = self.recording
        if recording is None:
            return
        if recording.channels == "unmixed" and recording.format != "wav":
            yield "recording.format", "must be wav where channels are unmixed.", ""
        if self.consent is None and not recording.announced_elsewhere:
            yield (
                "recording",
                "needs a consent section: callers have to know.",
                "Or set announced_elsewhere: true where they are told before they reach this agent.",
            )

"""The bodies of REST requests. Source: `_generated/models` of the public Python SDK 1.6."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from emulators.communication.identifiers import IdentifierBody, PhoneNumberBody, UserBody
from emulators.communication.recognition import InputType, RecognizeOptions
from emulators.communication.streaming import MediaStreamingOptions, OperationEcho


class Operation(msgspec.Struct, rename="camel", kw_only=True):
    """What all actions may carry."""

    operation_context: str | None = None
    operation_callback_uri: str | None = None

    def echo(self) -> OperationEcho:
        """Return what the action's events repeat."""
        return OperationEcho(context=self.operation_context, callback_uri=self.operation_callback_uri)


class Answer(msgspec.Struct, rename="camel", kw_only=True):
    """`AnswerCallRequest`."""

    incoming_call_context: str
    callback_uri: str
    operation_context: str | None = None
    answered_by: UserBody | None = None
    media_streaming_options: MediaStreamingOptions | None = None
    transcription_options: dict[str, object] | None = None


class Create(msgspec.Struct, rename="camel", kw_only=True):
    """`CreateCallRequest`."""

    targets: Annotated[list[IdentifierBody], msgspec.Meta(min_length=1)]
    callback_uri: str
    source_caller_id_number: PhoneNumberBody | None = None
    source_display_name: str | None = None
    source: UserBody | None = None
    operation_context: str | None = None
    media_streaming_options: MediaStreamingOptions | None = None
    transcription_options: dict[str, object] | None = None


class Reject(msgspec.Struct, rename="camel", kw_only=True):
    """`RejectCallRequest`."""

    incoming_call_context: str
    call_reject_reason: Literal["none", "busy", "forbidden"] | None = None


class Redirect(msgspec.Struct, rename="camel", kw_only=True):
    """`RedirectCallRequest`."""

    incoming_call_context: str
    target: IdentifierBody


class CustomContext(msgspec.Struct, rename="camel", kw_only=True):
    """`customCallingContext`."""

    sip_headers: dict[str, str] | None = None
    voip_headers: dict[str, str] | None = None


class Transfer(Operation):
    """`TransferToParticipantRequest`."""

    target_participant: IdentifierBody
    transferee: IdentifierBody | None = None
    custom_calling_context: CustomContext | None = None
    source_caller_id_number: PhoneNumberBody | None = None


class AddParticipant(Operation):
    """`AddParticipantRequest`."""

    participant_to_add: IdentifierBody
    source_caller_id_number: PhoneNumberBody | None = None
    source_display_name: str | None = None
    invitation_timeout_in_seconds: Annotated[int, msgspec.Meta(ge=1, le=180)] | None = None


class CancelAddParticipant(Operation):
    """`CancelAddParticipantRequest`."""

    invitation_id: str


class RemoveParticipant(Operation):
    """`RemoveParticipantRequest`."""

    participant_to_remove: IdentifierBody


class Mute(Operation):
    """`MuteParticipantsRequest`."""

    target_participants: Annotated[list[IdentifierBody], msgspec.Meta(min_length=1, max_length=1)]


class OnParticipant(Operation):
    """Hold, unhold, continuous DTMF recognition: one participant."""

    target_participant: IdentifierBody


class SendTones(Operation):
    """`SendDtmfTonesRequest`."""

    tones: Annotated[list[str], msgspec.Meta(min_length=1)]
    target_participant: IdentifierBody


class FileSource(msgspec.Struct, rename="camel", kw_only=True):
    """`file` of a play source."""

    uri: str


class TextSource(msgspec.Struct, rename="camel", kw_only=True):
    """`text` of a play source."""

    text: str


class SsmlSource(msgspec.Struct, rename="camel", kw_only=True):
    """`ssml` of a play source."""

    ssml_text: str


class PlaySource(msgspec.Struct, rename="camel", kw_only=True):
    """`PlaySource`: one of `file`, `text`, `ssml`, as `kind` says."""

    kind: Literal["file", "text", "ssml"]
    file: FileSource | None = None
    text: TextSource | None = None
    ssml: SsmlSource | None = None


class PlayOptions(msgspec.Struct, rename="camel", kw_only=True):
    """`playOptions`."""

    loop: bool = False


class Play(Operation):
    """`PlayRequest`."""

    play_sources: Annotated[list[PlaySource], msgspec.Meta(min_length=1, max_length=10)]
    play_to: list[IdentifierBody] | None = None
    interrupt_call_media_operation: bool | None = None
    play_options: PlayOptions | None = None


class Recognize(Operation):
    """`RecognizeRequest`."""

    recognize_input_type: InputType
    recognize_options: RecognizeOptions
    play_prompt: PlaySource | None = None
    play_prompts: list[PlaySource] | None = None
    interrupt_call_media_operation: bool | None = None


class CallLocator(msgspec.Struct, rename="camel", kw_only=True):
    """`CallLocator`."""

    server_call_id: str | None = None


class StartRecording(msgspec.Struct, rename="camel", kw_only=True):
    """`StartCallRecordingRequest`."""

    call_locator: CallLocator | None = None
    call_connection_id: str | None = None
    recording_state_callback_uri: str | None = None
    recording_content_type: Literal["audio", "audioVideo"] | None = None
    recording_channel_type: Literal["mixed", "unmixed"] | None = None
    recording_format_type: Literal["wav", "mp3", "mp4"] | None = None
    pause_on_start: bool | None = None

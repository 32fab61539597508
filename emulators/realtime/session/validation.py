"""The service's checks of session and response objects, with its error codes.

Source: the GA types of the public openai Python SDK (`openai/types/realtime`) and the published error
messages of the Realtime API.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from emulators.realtime.session.effects import Transport
from emulators.realtime.wire import Json, RejectedError, as_list, as_object, describe

VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TUNED_VAD = ("threshold", "prefix_padding_ms", "silence_duration_ms")


def check_session(session: object, *, path: str = "session", transport: Transport = "websocket") -> Json:
    """Return `session` when it is a valid session object.

    Raises RejectedError naming the first bad field by its dotted path, as the service does.
    """
    found = require_object(session, path)
    kind = found.get("type")
    if kind is None:
        raise missing(f"{path}.type")
    one_of(kind, ("realtime", "transcription"), f"{path}.type")
    if kind == "transcription":
        only_keys(found, ("type", "audio", "include"), path)
        audio = optional_object(found, "audio", path)
        only_keys(audio, ("input",), f"{path}.audio")
        _check_input(optional_object(audio, "input", f"{path}.audio"), f"{path}.audio.input", transport)
        return found
    only_keys(
        found,
        ("type", "model", "instructions", "output_modalities", "audio", "tools", "tool_choice",
         "parallel_tool_calls", "reasoning", "max_output_tokens", "truncation", "tracing", "prompt",
         "include"),
        path,
    )  # fmt: skip
    for name in ("model", "instructions"):
        optional_string(found, name, path)
    _check_generation(found, path)
    audio = optional_object(found, "audio", path)
    only_keys(audio, ("input", "output"), f"{path}.audio")
    _check_input(optional_object(audio, "input", f"{path}.audio"), f"{path}.audio.input", transport)
    output = optional_object(audio, "output", f"{path}.audio")
    only_keys(output, ("format", "voice", "speed"), f"{path}.audio.output")
    _check_output(output, f"{path}.audio.output")
    number(output, "speed", f"{path}.audio.output", low=0.25, high=1.5)
    _check_truncation(found.get("truncation"), f"{path}.truncation")
    return found


def check_response(response: object) -> Json:
    """Return `response` when it is a valid `response.create` body; raises RejectedError otherwise."""
    path = "response"
    if response is None:
        return {}
    found = require_object(response, path)
    only_keys(
        found,
        ("conversation", "input", "instructions", "output_modalities", "audio", "tools", "tool_choice",
         "max_output_tokens", "metadata", "prompt", "reasoning", "parallel_tool_calls"),
        path,
    )  # fmt: skip
    if "conversation" in found:
        one_of(found["conversation"], ("auto", "none"), f"{path}.conversation")
    if found.get("input") is not None and as_list(found["input"]) is None:
        raise wrong_type(found["input"], "an array of items", f"{path}.input")
    optional_string(found, "instructions", path)
    _check_generation(found, path)
    audio = optional_object(found, "audio", path)
    only_keys(audio, ("output",), f"{path}.audio")
    output = optional_object(audio, "output", f"{path}.audio")
    only_keys(output, ("format", "voice"), f"{path}.audio.output")
    _check_output(output, f"{path}.audio.output")
    _check_metadata(found.get("metadata"), f"{path}.metadata")
    return found


def _check_generation(found: Json, path: str) -> None:
    if found.get("output_modalities") is not None:
        modalities = as_list(found["output_modalities"])
        if modalities not in (["audio"], ["text"]):
            raise RejectedError(
                "invalid_value",
                f"Invalid modalities: {found['output_modalities']}. "
                "Supported combinations are: ['text'] and ['audio'].",
                param=f"{path}.output_modalities",
            )
    limit = found.get("max_output_tokens")
    if limit is not None and limit != "inf":
        number(found, "max_output_tokens", path, low=1, high=4096, whole=True)
    tools = check_tools(found.get("tools"), f"{path}.tools")
    _check_tool_choice(found.get("tool_choice"), tools, f"{path}.tool_choice")
    if found.get("parallel_tool_calls") is not None and not isinstance(found["parallel_tool_calls"], bool):
        raise wrong_type(found["parallel_tool_calls"], "a boolean", f"{path}.parallel_tool_calls")


def check_tools(tools: object, path: str) -> list[Json] | None:
    """Return the tool list when it is valid (flat function tools and MCP servers), None when not given."""
    if tools is None:
        return None
    listed = as_list(tools)
    if listed is None:
        raise wrong_type(tools, "an array of tools", path)
    names: set[str] = set()
    checked: list[Json] = []
    for index, entry in enumerate(listed):
        here = f"{path}[{index}]"
        tool = require_object(entry, here)
        one_of(tool.get("type"), ("function", "mcp"), f"{here}.type")
        if tool["type"] == "mcp":
            if not isinstance(tool.get("server_label"), str):
                raise missing(f"{here}.server_label")
        else:
            only_keys(tool, ("type", "name", "description", "parameters", "strict"), here)
            name = tool.get("name")
            if name is None:
                raise missing(f"{here}.name")
            if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
                raise RejectedError(
                    "invalid_value",
                    f"Invalid '{here}.name': string does not match pattern '^[a-zA-Z0-9_-]+$' of at most "
                    "64 characters.",
                    param=f"{here}.name",
                )
            if name in names:
                raise RejectedError("invalid_value", f"Duplicate tool name: '{name}'.", param=f"{here}.name")
            names.add(name)
            optional_string(tool, "description", here)
            optional_object(tool, "parameters", here)
        checked.append(tool)
    return checked


def _check_tool_choice(choice: object, tools: Sequence[Json] | None, path: str) -> None:
    if choice is None:
        return
    if isinstance(choice, str):
        one_of(choice, ("none", "auto", "required"), path)
        return
    named = require_object(choice, path)
    one_of(named.get("type"), ("function", "mcp"), f"{path}.type")
    if named["type"] == "function":
        name = named.get("name")
        if not isinstance(name, str):
            raise missing(f"{path}.name")
        if tools is not None and name not in {tool.get("name") for tool in tools}:
            raise RejectedError("invalid_value", f"Tool choice '{name}' not found in 'tools'.", param=path)


def _check_input(audio: Json, path: str, transport: Transport) -> None:
    only_keys(audio, ("format", "noise_reduction", "transcription", "turn_detection"), path)
    check_format(audio.get("format"), f"{path}.format")
    noise = optional_object(audio, "noise_reduction", path)
    if noise:
        one_of(noise.get("type"), ("near_field", "far_field"), f"{path}.noise_reduction.type")
    transcription = optional_object(audio, "transcription", path)
    only_keys(
        transcription,
        ("model", "language", "languages", "prompt", "keywords", "delay"),
        f"{path}.transcription",
    )
    optional_string(transcription, "model", f"{path}.transcription")
    _check_turn_detection(optional_object(audio, "turn_detection", path), f"{path}.turn_detection", transport)


def _check_turn_detection(detection: Json, path: str, transport: Transport) -> None:
    if not detection:
        return
    kind = detection.get("type")
    one_of(kind, ("server_vad", "semantic_vad"), f"{path}.type")
    answers = ("type", "create_response", "interrupt_response")
    if kind == "semantic_vad":
        only_keys(detection, (*answers, "eagerness"), path)
        if detection.get("eagerness") is not None:
            one_of(detection["eagerness"], ("low", "medium", "high", "auto"), f"{path}.eagerness")
    else:
        only_keys(detection, (*answers, *_TUNED_VAD, "idle_timeout_ms"), path)
        number(detection, "threshold", path, low=0, high=1)
        number(detection, "prefix_padding_ms", path, low=0, high=10_000, whole=True)
        number(detection, "silence_duration_ms", path, low=0, high=60_000, whole=True)
        number(detection, "idle_timeout_ms", path, low=5_000, high=30_000, whole=True)
        tuned = [name for name in _TUNED_VAD if detection.get(name) is not None]
        if transport == "sip" and tuned:
            raise RejectedError(
                "invalid_value",
                f"'{path}.{tuned[0]}' is not supported for SIP sessions.",
                param=f"{path}.{tuned[0]}",
            )
    for name in ("create_response", "interrupt_response"):
        if detection.get(name) is not None and not isinstance(detection[name], bool):
            raise wrong_type(detection[name], "a boolean", f"{path}.{name}")


def _check_output(output: Json, path: str) -> None:
    check_format(output.get("format"), f"{path}.format")
    voice = output.get("voice")
    if voice is None or (isinstance(voice, dict) and isinstance(voice.get("id"), str)):
        return
    one_of(voice, VOICES, f"{path}.voice")


def check_format(value: object, path: str) -> None:
    """Accept the GA audio formats: PCM at 24 kHz, G.711 µ-law and A-law."""
    if value is None:
        return
    found = require_object(value, path)
    one_of(found.get("type"), ("audio/pcm", "audio/pcmu", "audio/pcma"), f"{path}.type")
    only_keys(found, ("type", "rate"), path)
    if found["type"] == "audio/pcm" and found.get("rate") not in (None, 24_000):
        raise RejectedError(
            "invalid_value",
            f"Invalid value: {found['rate']}. Supported values are: 24000.",
            param=f"{path}.rate",
        )


def _check_truncation(value: object, path: str) -> None:
    if value is None:
        return
    if isinstance(value, str):
        one_of(value, ("auto", "disabled"), path)
        return
    found = require_object(value, path)
    one_of(found.get("type"), ("retention_ratio",), f"{path}.type")
    number(found, "retention_ratio", path, low=0, high=1)


def _check_metadata(value: object, path: str) -> None:
    if value is None:
        return
    found = require_object(value, path)
    if len(found) > 16:
        raise RejectedError("invalid_value", f"'{path}' may hold at most 16 pairs.", param=path)
    for key, entry in found.items():
        if len(key) > 64 or not isinstance(entry, str) or len(entry) > 512:
            raise RejectedError(
                "invalid_value",
                f"'{path}' needs keys of at most 64 and string values of at most 512 characters.",
                param=f"{path}.{key[:64]}",
            )


def missing(path: str) -> RejectedError:
    """Return the error for a required field that is not there."""
    return RejectedError("missing_required_parameter", f"Missing required parameter: '{path}'.", param=path)


def wrong_type(value: object, wanted: str, path: str) -> RejectedError:
    """Return the error for a field of the wrong JSON type."""
    return RejectedError(
        "invalid_type",
        f"Invalid type for '{path}': expected {wanted}, but got {describe(value)} instead.",
        param=path,
    )


def only_keys(found: Json, allowed: Collection[str], path: str) -> None:
    """Refuse fields that the GA API does not know (the flat beta fields among them)."""
    for key in found:
        if key not in allowed:
            raise RejectedError(
                "unknown_parameter", f"Unknown parameter: '{path}.{key}'.", param=f"{path}.{key}"
            )


def one_of(value: object, allowed: Sequence[str], path: str) -> None:
    """Refuse a value outside a closed set."""
    if value is None:
        raise missing(path)
    if value not in allowed:
        listed = ", ".join(f"'{entry}'" for entry in allowed)
        raise RejectedError(
            "invalid_value", f"Invalid value: '{value}'. Supported values are: {listed}.", param=path
        )


def require_object(value: object, path: str) -> Json:
    """Return `value` as an object; raises RejectedError where it is something else or missing."""
    if value is None:
        raise missing(path)
    found = as_object(value)
    if found is None:
        raise wrong_type(value, "an object", path)
    return found


def optional_object(source: Json, name: str, path: str) -> Json:
    """Return the object called `name`, or an empty one where it is missing or null."""
    return {} if source.get(name) is None else require_object(source[name], f"{path}.{name}")


def optional_string(source: Json, name: str, path: str) -> None:
    """Refuse a `name` that is neither a string nor missing."""
    value = source.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong_type(value, "a string", f"{path}.{name}")


def number(source: Json, name: str, path: str, *, low: float, high: float, whole: bool = False) -> None:
    """Refuse a `name` that is neither missing nor a number within [low, high]."""
    value = source.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise wrong_type(value, "an integer" if whole else "a number", f"{path}.{name}")
    if not low <= value <= high:
        side, bound, code = (
            (">=", low, "integer_below_min_value" if whole else "decimal_below_min_value")
            if value < low
            else ("<=", high, "integer_above_max_value" if whole else "decimal_above_max_value")
        )
        raise RejectedError(
            code,
            f"Invalid '{path}.{name}': expected a value {side} {bound:g}, but got {value:g} instead.",
            param=f"{path}.{name}",
        )

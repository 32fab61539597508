"""One `recognize`: collect keys, words or a choice, with the timeouts that were asked for.

Source: `RecognizeRequest` of the public Python SDK; sub codes: Microsoft's "Call Automation SDK error codes".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec

from emulators.communication.cloud_events import Result
from emulators.communication.identifiers import IdentifierBody
from emulators.communication.wire import Json

TONES = {
    "0": "zero", "1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven",
    "8": "eight", "9": "nine", "A": "a", "B": "b", "C": "c", "D": "d", "#": "pound", "*": "asterisk",
}  # fmt: skip
"""A telephone's key -> `DtmfTone`."""

_INITIAL_SILENCE_S = 5
_BETWEEN_TONES_S = 2


class DtmfOptions(msgspec.Struct, rename="camel", kw_only=True):
    """`dtmfOptions`."""

    inter_tone_timeout_in_seconds: float | None = None
    max_tones_to_collect: int | None = None
    stop_tones: list[str] | None = None


class Choice(msgspec.Struct, rename="camel", kw_only=True):
    """One of the `choices`."""

    label: str
    phrases: list[str]
    tone: str | None = None


class RecognizeOptions(msgspec.Struct, rename="camel", kw_only=True):
    """`recognizeOptions`."""

    target_participant: IdentifierBody
    interrupt_prompt: bool | None = None
    initial_silence_timeout_in_seconds: float | None = None
    dtmf_options: DtmfOptions | None = None
    choices: list[Choice] | None = None


InputType = Literal["dtmf", "speech", "speechOrDtmf", "choices"]
Ended = Callable[[str, Json, Result], None]


class Recognition:
    """Waits for input; `ended` is called once, with the event's name, its data and its result."""

    def __init__(
        self, kind: InputType, options: RecognizeOptions, *, raw_id: str, speed: float, ended: Ended
    ) -> None:
        self.raw_id = raw_id
        self.interrupts = bool(options.interrupt_prompt)
        self._kind = kind
        self._options = options
        self._dtmf = options.dtmf_options or DtmfOptions()
        self._speed = speed
        self._ended = ended
        self._tones: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self.over = False

    def listen(self) -> None:
        """The prompt is over: the time for the first input begins."""
        seconds = self._options.initial_silence_timeout_in_seconds
        if not self._tones and not self.over:
            self._within(
                _INITIAL_SILENCE_S if seconds is None else seconds,
                8510,
                "Action failed, initial silence timeout reached.",
            )

    def tone(self, tone: str) -> None:
        """A key was pressed."""
        if self.over or self._kind == "speech":
            return
        if self._kind == "choices":
            chosen = next((each for each in self._options.choices or [] if each.tone == tone), None)
            if chosen is None:
                self._fail(8534, "Action failed, incorrect tone entered.")
            else:
                self._complete("choices", "choiceResult", {"label": chosen.label}, 8533)
            return
        if tone in (self._dtmf.stop_tones or []):
            self._complete("dtmf", "dtmfResult", {"tones": self._tones}, 8514)
            return
        self._tones.append(tone)
        if len(self._tones) >= (self._dtmf.max_tones_to_collect or 1):
            self._complete("dtmf", "dtmfResult", {"tones": self._tones}, 8531)
            return
        seconds = self._dtmf.inter_tone_timeout_in_seconds
        self._within(
            _BETWEEN_TONES_S if seconds is None else seconds,
            8532,
            "Action failed, inter-digit silence timeout reached.",
        )

    def words(self, text: str) -> None:
        """Something was said."""
        if self.over or self._kind == "dtmf":
            return
        if self._kind == "choices":
            heard = text.lower()
            for choice in self._options.choices or []:
                for phrase in choice.phrases:
                    if phrase.lower() in heard:
                        found: Json = {"label": choice.label, "recognizedPhrase": phrase}
                        self._complete("choices", "choiceResult", found, 8545)
                        return
            self._fail(8547, "Action failed, speech option was not matched.")
            return
        self._complete("speech", "speechResult", {"speech": text, "confidence": 0.9}, 8569)

    def failed_prompt(self, result: Result, index: int) -> None:
        """The prompt could not be played."""
        self._end("RecognizeFailed", {"failedPlaySourceIndex": index}, result)

    def cancel(self) -> None:
        """Break it off: RecognizeCanceled."""
        self._end(
            "RecognizeCanceled", {}, Result(code=400, sub_code=8508, message="The operation was cancelled.")
        )

    def close(self) -> None:
        """Forget it, without a word."""
        self.over = True
        self._stop_timer()

    def _complete(self, kind: str, name: str, found: Json, sub_code: int) -> None:
        result = Result(sub_code=sub_code)
        self._end("RecognizeCompleted", {"recognitionType": kind, name: found}, result)

    def _fail(self, sub_code: int, message: str) -> None:
        self._end("RecognizeFailed", {}, Result(code=400, sub_code=sub_code, message=message))

    def _end(self, event: str, data: Json, result: Result) -> None:
        if not self.over:
            self.close()
            self._ended(event, data, result)

    def _within(self, seconds: float, sub_code: int, message: str) -> None:
        self._stop_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds / self._speed, lambda: self._fail(sub_code, message))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

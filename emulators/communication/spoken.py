"""From the words of an `/_emu` request to sound."""

from __future__ import annotations

import asyncio

from emulators.communication.admin_bodies import Words
from emulators.communication.microphone import Utterance, spoken_tone
from emulators.communication.voice import Voice, read_wav
from emulators.communication.wire import invalid


async def utterance_of(words: Words, voice: Voice) -> Utterance:
    """Return what is to be said; raises RejectedError (400, or 409 for text without speech)."""
    if words.wav is not None:
        return Utterance(await asyncio.to_thread(read_wav, words.wav), words.text)
    if words.tone_ms is not None:
        return spoken_tone(words.tone_ms, words.hertz, words.text)
    if words.text:
        return Utterance(await voice.caller(words.text), words.text)
    raise invalid("Give 'text', 'tone_ms' or 'wav', or send a WAV as the body.")

"""Ears and voice for the emulators: voice activity, speech to text, text to speech, all offline."""

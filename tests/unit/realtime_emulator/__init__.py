"""Tests of the Realtime emulator."""

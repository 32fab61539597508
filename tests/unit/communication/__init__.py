"""Tests of the Communication Services emulator."""

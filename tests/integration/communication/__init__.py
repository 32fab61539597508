"""Tests of the Communication Services emulator, by the official SDK."""

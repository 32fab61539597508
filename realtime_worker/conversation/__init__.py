"""The conversation core: pure state machines, no socket, no clock, no await inside.

Provider events, tool results, commands and clock ticks go in; effects come out, and the shell
around it carries them out. Time is Unix milliseconds, always passed in.
"""

"""What the emulated model answers: rules from a file, or any OpenAI-compatible chat endpoint."""

"""The agents of this deployment: YAML, prompts and tools. This folder is yours to edit."""

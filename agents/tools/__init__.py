"""Tools that the agents' YAML names as module.function."""

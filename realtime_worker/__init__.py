"""The data plane: the long-lived process that holds calls."""

"""The control plane: Azure Functions blueprints, one a concern."""

"""Azure on one machine, for development and tests. Nothing of the product imports this package."""

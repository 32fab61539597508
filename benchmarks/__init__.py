"""What things cost, against a floor measured in the same run. Not tests: figures depend on the machine."""

"""What several tests need: servers on their own ports, waiting for state."""

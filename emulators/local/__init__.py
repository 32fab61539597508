"""The whole product on one machine: start the parts, place a call, show it, stop everything."""

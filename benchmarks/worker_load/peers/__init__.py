"""Other clients of the sideband. Each is a script: the peers' environment has nothing of ours."""

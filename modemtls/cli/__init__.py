"""modemtls.cli."""

"""modemtls.net."""

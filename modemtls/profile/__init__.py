"""modemtls.profile."""

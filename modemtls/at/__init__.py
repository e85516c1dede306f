"""modemtls.at."""

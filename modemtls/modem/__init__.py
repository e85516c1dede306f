"""modemtls.modem."""

"""modemtls.sim: a simulated modem on a pseudo-terminal, with real TLS behind it."""

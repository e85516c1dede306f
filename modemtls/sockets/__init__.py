"""modemtls.sockets."""

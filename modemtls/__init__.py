"""modemtls: the TLS stack inside a cellular modem as an ordinary secure socket."""

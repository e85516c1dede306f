"""One attached modem: what it is, bringing it up, its sockets, TLS contexts, credentials and clock."""

"""Real servers and a throw-away PKI for the tests; loopback only, free ports, ended by their process id."""

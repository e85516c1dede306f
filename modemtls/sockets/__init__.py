"""What applications see: a socket that libraries accept, and adapters for some of them."""

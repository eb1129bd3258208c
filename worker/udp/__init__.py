"""UDP routers: sessions per client address, and what carries their datagrams."""

"""TCP routers: which connection goes where, and the tunnel it then is."""

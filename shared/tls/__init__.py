"""The server side of TLS, for master (which checks) and workers (which serve): names, and contexts."""

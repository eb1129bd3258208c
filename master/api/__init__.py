"""The HTTP API of the proxy, as far as the master answers it: workers pass its requests on."""

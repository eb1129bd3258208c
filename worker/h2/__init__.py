"""HTTP/2 with clients and with servers (RFC 9113, RFC 7541), over the h2 library."""

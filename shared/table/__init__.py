"""The serialized routing table: byte format, writer, lazy reader and index."""

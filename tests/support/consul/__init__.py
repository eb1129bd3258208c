"""A stand-in for a Consul server: its key-value store over HTTP, with blocking queries and faults.

Built from exchanges recorded from a Consul 1.10 server; those of ``recorded/`` are replayed against it by
``tests/integration/test_consul_stand_in.py``.
"""

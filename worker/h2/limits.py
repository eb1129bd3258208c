"""Limits of HTTP/2 connections, for both sides. Those that an operator can set are settings instead."""

FRAME_BYTES = 16_384
"""Longest payload we take and send: the protocol's least, which every peer knows (RFC 9113 section 4.2)."""
STREAM_WINDOW_BYTES = 131_072
"""Bytes a peer may send on a stream before somebody took them."""
CONNECTION_WINDOW_BYTES = 1_048_576
"""The same for all streams of a connection: the most that waits in our memory for one (as in Go)."""
UNSENT_BYTES = 65_536
"""Streams wait with their data when this much waits to be sent."""
MAX_UNSENT_BYTES = 262_144
"""A peer that makes us answer (pings, settings) and reads none of it is cut here."""
CONTROL_BURST = 1_000
"""Frames without content that a peer may send at once: pings, settings, priorities, empty data and so on."""
CONTROL_PER_S = 100
"""The same in the long run."""
CONTROL_PER_DATA = 3
"""Earned with each frame of content, in either direction, and with each exchange: window updates and
priorities go with them."""
LEAST_DATA_BYTES = 1_024
"""A frame of content that the peer's window made shorter than this earns nothing (CVE-2019-9517)."""
DEFAULT_STREAMS = 250
"""Streams at once of a client where the setting is 0."""
RESET_BURST = 200
"""Streams that a client may give up at once, each paid back by one that it let end (CVE-2023-44487)."""
RESETS_PER_S = 20
"""The same in the long run."""
HEADER_LIST_BYTES = 1_048_576
"""Longest head that we take from a server, counted as RFC 9113 section 6.5.2 does."""
CLOSED_STREAMS = 1_024
"""Ended streams that are remembered to tell a late frame from a wrong one."""
GOODBYE_S = 1.0
"""Longest time to get the last frames, with the reason, to a peer."""
DRAIN_S = 3.0
"""How long a client may open streams after it was asked to go, if it does not answer the ping that asks
whether it has heard."""
REFUSE_MARGIN = 1_000
"""Streams over its limit that a client may have open while they are refused one by one."""
MAX_STREAMS_UNTOLD = 100
"""Streams at once to a server that has not said how many it takes (as Go's client)."""

"""The plain lane: ordinary exchanges without a task, as state machines over one epoll instance.

The rule that keeps it honest: for any bytes, either this lane declines and the general lane takes over with
nothing lost, or both lanes send the same bytes to the server and the same bytes to the client. What this lane
sends is made by the general lane's own pure functions, whole (``plan``) or of known parts (``composer``);
what is new here is that their results are remembered, and how sockets are driven.

Read ``loop`` (what drives sockets), ``client`` (one client connection), ``link`` (one server connection),
``lane`` (exchanges, and the doors to the general lane), ``plan`` and ``answer`` (what is sent) and ``books``
(what is kept).
"""

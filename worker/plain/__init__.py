"""The plain lane: ordinary exchanges without a task, as state machines over one epoll instance.

The rule that keeps it honest: for any bytes, either this lane declines and the general lane takes over with
nothing lost, or both lanes send the same bytes to the server and the same bytes to the client. It is kept by
construction: every byte that this lane sends was made by the general lane's own pure functions (``plan``);
what is new here is only that their results are remembered, and how sockets are driven.

Read ``lane`` (the loop), ``client`` (one client connection), ``link`` (one server connection), ``plan``.
"""

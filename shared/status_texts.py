"""The text of a status code as it stands in response bodies.

Bodies are compared byte for byte with what the original sends, so the words are those of Go's
``net/http`` and do not move with the Python version (3.13 renamed several of Python's own).
"""

from __future__ import annotations

from http import HTTPStatus

_OTHER_WORDS = {
    413: "Request Entity Too Large",
    414: "Request URI Too Long",
    416: "Requested Range Not Satisfiable",
    418: "I'm a teapot",
    422: "Unprocessable Entity",
}
CLIENT_CLOSED_REQUEST = 499
"""Not a registered status: what the log shows for a client that left."""


def status_text(status: int) -> str:
    """The words for ``status``; empty for a status that is not registered."""
    if status in _OTHER_WORDS:
        return _OTHER_WORDS[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""

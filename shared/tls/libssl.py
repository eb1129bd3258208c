"""The four settings of a TLS context that OpenSSL has and Python's ``ssl`` does not (3.11 to 3.13).

Ticket keys, several curves, the size of the session cache, and client certificates that nobody checks. The
``SSL_CTX`` is found where CPython keeps it, as the first field behind the object's head, and is used only
after two values read through it have turned out to be those that Python says: on another layout
``is_available`` is False, and what needs these settings is refused by name.

Source: SSL_CTX_ctrl(3), SSL_CTX_set_tlsext_ticket_key_cb(3), SSL_CTX_set1_groups(3),
SSL_CTX_set_cert_verify_callback(3); CPython's ``PySSLContext`` in Modules/_ssl.c.
"""

from __future__ import annotations

import _ssl
import ctypes
import functools
import ssl

TICKET_KEY_BYTES = 80
"""Name, HMAC key and AES key of tickets, as OpenSSL 1.1 and 3 take them."""

_SET_SESSION_CACHE_MODE = 44
_SET_TICKET_KEYS = 59
_SET_GROUPS_LIST = 92
_GET_MIN_PROTO_VERSION = 130
_OPTIONS_MASK = 0xFFFF_FFFF

_VerifyCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_accept_any = _VerifyCallback(lambda store, argument: 1)  # must live as long as contexts do


def is_available() -> bool:
    """Whether these settings can be made with this interpreter."""
    return _library() is not None


def set_ticket_key(context: ssl.SSLContext, key: bytes) -> None:
    """Have session tickets made and read with this key, which other processes may have too.

    Args:
        key: ``TICKET_KEY_BYTES`` long.

    Raises:
        ssl.SSLError: OpenSSL does not take it.
    """
    _control(context, _SET_TICKET_KEYS, len(key), key, "the key of session tickets")


def set_groups(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    """Set the curves, best first.

    Raises:
        ssl.SSLError: OpenSSL knows one of them not.
    """
    _control(context, _SET_GROUPS_LIST, 0, ":".join(names).encode("ascii"), "the list of curves")


def forget_sessions(context: ssl.SSLContext) -> None:
    """Keep no sessions in memory (OpenSSL would keep 20,480 in each context): tickets carry them."""
    library = _library()
    if library is not None:
        library.SSL_CTX_ctrl(_address(context), _SET_SESSION_CACHE_MODE, 0, None)


def accept_any_client_certificate(context: ssl.SSLContext) -> None:
    """Take client certificates as they come. Whether one is needed is for ``verify_mode`` to say.

    Raises:
        ssl.SSLError: the settings cannot be reached with this interpreter.
    """
    _need().SSL_CTX_set_cert_verify_callback(_address(context), _accept_any, None)


def name_client_authorities(context: ssl.SSLContext, path: str) -> None:
    """Tell clients whose certificates are good, where that is possible: they choose theirs by it."""
    library = _library()
    if library is None:
        return
    names = library.SSL_load_client_CA_file(path.encode())
    if names:
        library.SSL_CTX_set_client_CA_list(_address(context), names)  # which owns them now
    else:
        library.ERR_clear_error()


def _control(context: ssl.SSLContext, command: int, number: int, value: bytes, what: str) -> None:
    library = _need()
    if library.SSL_CTX_ctrl(_address(context), command, number, value) != 1:
        library.ERR_clear_error()
        raise ssl.SSLError(f"OpenSSL does not take {what}")


def _need() -> ctypes.CDLL:
    library = _library()
    if library is None:
        raise ssl.SSLError("OpenSSL's settings are out of reach in this Python")
    return library


@functools.cache
def _library() -> ctypes.CDLL | None:
    """libssl as the interpreter loaded it, with our signatures; None where it cannot be used."""
    try:
        library = ctypes.CDLL(getattr(_ssl, "__file__", None))
        library.SSL_CTX_ctrl.restype = ctypes.c_long
        library.SSL_CTX_ctrl.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p)
        library.SSL_CTX_get_options.restype = ctypes.c_uint64
        library.SSL_CTX_get_options.argtypes = (ctypes.c_void_p,)
        library.SSL_CTX_set_cert_verify_callback.restype = None
        library.SSL_CTX_set_cert_verify_callback.argtypes = (
            ctypes.c_void_p,
            _VerifyCallback,
            ctypes.c_void_p,
        )
        library.SSL_load_client_CA_file.restype = ctypes.c_void_p
        library.SSL_load_client_CA_file.argtypes = (ctypes.c_char_p,)
        library.SSL_CTX_set_client_CA_list.restype = None
        library.SSL_CTX_set_client_CA_list.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        library.ERR_clear_error.restype = None
        library.ERR_clear_error.argtypes = ()
    except (OSError, AttributeError):
        return None
    return library if _finds_contexts(library) else None


def _finds_contexts(library: ctypes.CDLL) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_RENEGOTIATION
    address = _address(context)
    options = library.SSL_CTX_get_options(address)
    version = library.SSL_CTX_ctrl(address, _GET_MIN_PROTO_VERSION, 0, None)
    return bool(
        (options ^ int(context.options)) & _OPTIONS_MASK == 0 and version == int(ssl.TLSVersion.TLSv1_3)
    )


def _address(context: ssl.SSLContext) -> int:
    """Where OpenSSL's half of a context is: the first field of CPython's."""
    field = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    return field.value or 0

"""Check of compress (spec v2 section 4.6)."""

from __future__ import annotations

import msgspec

from shared.config.diagnostics import nearest_name
from shared.config.middlewares import Compress
from shared.content_codings import CODINGS
from shared.errors import ConfigError
from shared.media_types import media_type

_DEFAULT_MINIMUM = Compress().min_response_body_bytes


def check_compress(options: Compress) -> Compress:
    """Codings that exist and types that can be read; a minimum that is not positive becomes the default.

    Raises:
        ConfigError: it cannot be honoured; the path is relative to the middleware's section.
    """
    if options.excluded_content_types and options.included_content_types:
        reason = "excludedContentTypes and includedContentTypes options are mutually exclusive"
        raise ConfigError("excludedContentTypes", reason)
    _check_types("excludedContentTypes", options.excluded_content_types, "excluded")
    _check_types("includedContentTypes", options.included_content_types, "included")
    if not options.encodings:
        raise ConfigError("encodings", "at least one encoding must be specified")
    for index, encoding in enumerate(options.encodings):
        if encoding not in CODINGS:
            hint = nearest_name(encoding, CODINGS)
            raise ConfigError(f"encodings[{index}]", f"unsupported encoding: {encoding}", hint)
    default = options.default_encoding
    if default and default not in options.encodings:
        hint = nearest_name(default, options.encodings)
        raise ConfigError("defaultEncoding", f"unsupported default encoding: {default}", hint)
    if options.min_response_body_bytes > 0:
        return options
    return msgspec.structs.replace(options, min_response_body_bytes=_DEFAULT_MINIMUM)


def _check_types(name: str, texts: tuple[str, ...], which: str) -> None:
    for index, text in enumerate(texts):
        try:
            media_type(text)
        except ConfigError as error:
            raise ConfigError(f"{name}[{index}]", f"parsing {which} media type: {error.reason}") from error

"""What went wrong with a request to an identity provider, as a kind to count and a sentence for the operator.

It reads exceptions and never makes a request. A sentence shows URLs and what the system said, little of what a server
chose to say, and nothing of what we sent.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import unquote

import aiohttp
import msgspec

_SHOWN_CHARACTERS = 300
"""Of a text that a server chose, in a message."""

_PIECE_CHARACTERS = 8
"""So many of a secret in a row are a piece of it, and not chance."""

_BROKEN = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE)


class FailureKind(StrEnum):
    """Why there is no answer to use; values of the `outcome` label of `issuer_fetches`, as `success` is."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    ERROR = "error"
    """The server answered, but not with what was asked for."""
    INVALID = "invalid"
    """An answer came, but not one to use."""


class FetchFailure(msgspec.Struct, frozen=True):
    """One request that failed: of which kind, and a sentence with the URL for the operator."""

    kind: FailureKind
    message: str
    passing: bool = False
    """The connection was refused or broke before an answer: worth trying once more."""


def failure_of(url: str, error: aiohttp.ClientError | OSError) -> FetchFailure:
    """The failure that an exception of a request to `url` stands for."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return _unreachable(f"{url}: its certificate is not trusted: {error.certificate_error}")
        case aiohttp.ClientProxyConnectionError():
            text = f"{url} cannot be reached: its proxy cannot be: {shown(_described(error))}"
            return _unreachable(text, passing=_is_passing(error))
        case aiohttp.ClientHttpProxyError():
            return _unreachable(f"{url} cannot be reached: its proxy answered with status {error.status}")
        case aiohttp.ClientResponseError():
            # What follows the colon are the server's bytes: it may have sent back our own, credentials and all.
            return FetchFailure(
                FailureKind.ERROR, f"{url} does not speak HTTP: {shown(error.message.partition(':')[0])}"
            )
        case aiohttp.ClientPayloadError():
            return FetchFailure(FailureKind.ERROR, f"{url} broke off in the middle of its answer")
        case _:
            text = f"{url} cannot be reached: {shown(_described(error))}"
            return _unreachable(text, passing=_is_passing(error))


def shown(text: str) -> str:
    """A text of others, short and on one line."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")[1:-1]


def repeats(text: str, secrets: Iterable[str]) -> bool:
    """Whether a text of others has a piece of a secret, in any letter case, percent-encoded or not."""
    return any(_has_piece(one.lower(), secret.lower()) for one in {text, unquote(text)} for secret in secrets)


def _has_piece(text: str, secret: str) -> bool:
    return any(text[at : at + _PIECE_CHARACTERS] in secret for at in range(len(text) - _PIECE_CHARACTERS + 1))


def _unreachable(message: str, *, passing: bool = False) -> FetchFailure:
    return FetchFailure(FailureKind.UNREACHABLE, message, passing)


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    return isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError) or (
        isinstance(error, OSError) and error.errno in _BROKEN
    )


def _described(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error  # what the system said, without aiohttp's words around it
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "Server disconnected"  # its own text may be the answer as far as it came
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__

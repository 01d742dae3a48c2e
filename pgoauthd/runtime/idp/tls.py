"""Makes the TLS settings of connections to one issuer: whom to trust, and what to show (RFC 8705); never connects."""

from __future__ import annotations

import ssl

from pgoauthd.config.values import Issuer
from pgoauthd.runtime.idp.credentials import real_path, unusable


def tls_context(issuer: Issuer) -> ssl.SSLContext | bool:
    """The system's certificate authorities or only those of ca_file, and our certificate where one is configured.

    The files are read here and not again. ConfigError where one cannot be used.
    """
    if issuer.ca_file is None and issuer.tls_certificate_file is None:
        return True
    context = _trusting_context(issuer)
    if issuer.tls_certificate_file is not None:
        _load_certificate(context, issuer, issuer.tls_certificate_file)
    return context


def _trusting_context(issuer: Issuer) -> ssl.SSLContext:
    where = f"issuers ({issuer.label}).ca_file"
    try:
        return ssl.create_default_context(cafile=issuer.ca_file and real_path(issuer.ca_file, where))
    except OSError as error:  # ssl.SSLError is one
        raise unusable(
            where,
            f"{issuer.ca_file} cannot be used: {error.strerror or error}",
            "name a readable file with certificates in PEM format",
        ) from None


def _load_certificate(context: ssl.SSLContext, issuer: Issuer, certificate: str) -> None:
    where = f"issuers ({issuer.label}).tls_certificate_file"
    key = issuer.tls_key_file
    try:
        context.load_cert_chain(
            real_path(certificate, where),
            None if key is None else real_path(key, f"issuers ({issuer.label}).tls_key_file"),
            password=_no_password,
        )
    except (OSError, ValueError) as error:
        what = (isinstance(error, OSError) and error.strerror) or str(error)
        raise unusable(
            where,
            f"{certificate} with the key in {key or 'the same file'} cannot be used: {what}",
            "name readable PEM files: the certificate with its chain, and its private key without a password",
        ) from None


def _no_password() -> str:
    """Asked for only where the key has one; without this, OpenSSL would ask on the terminal."""
    raise ValueError("the key has a password")

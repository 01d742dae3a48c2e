"""Makes the TLS settings of a probe from its files: for the server, and for the identity provider; never connects."""

from __future__ import annotations

import ssl

from pgoauthd.probing.parameters import SYSTEM, Parameters, TlsVersion
from pgoauthd.runtime.idp.credentials import real_path, unusable

_VERSIONS = {
    TlsVersion.ANY: (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.MAXIMUM_SUPPORTED),
    TlsVersion.V1_2: (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2),
    TlsVersion.V1_3: (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3),
}


def server_context(parameters: Parameters) -> ssl.SSLContext:
    """For the database; ConfigError where a file cannot be used."""
    tls = parameters.tls
    if tls.verify:
        context = _trusting(tls.trusted, parameters.name)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version, context.maximum_version = _VERSIONS[tls.version]
    if tls.certificate is not None:
        _show(context, tls.certificate, tls.key, parameters.name)
    return context


def idp_context(parameters: Parameters) -> ssl.SSLContext:
    """For the identity provider, which is always verified; ConfigError where a file cannot be used."""
    return _trusting(parameters.idp_trusted, parameters.name)


def _trusting(trusted: tuple[str, ...], name: str) -> ssl.SSLContext:
    context = ssl.create_default_context() if SYSTEM in trusted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for file in trusted:
        if file == SYSTEM:
            continue
        try:
            context.load_verify_locations(real_path(file, f"probe {name}"))
        except OSError as error:  # ssl.SSLError is one
            raise unusable(
                f"probe {name}",
                f"the trusted certificates in {file} cannot be used: {error.strerror or error}",
                "name a readable file with certificates in PEM format",
            ) from None
    return context


def _show(context: ssl.SSLContext, certificate: str, key: str | None, name: str) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        what = (isinstance(error, OSError) and error.strerror) or str(error)
        raise unusable(
            f"probe {name}",
            f"the client certificate {certificate} cannot be used: {what}",
            "name readable PEM files: the certificate with its chain, and its private key without a password",
        ) from None


def _no_password() -> str:
    """Asked for only where the key has one; without this, OpenSSL would ask on the terminal."""
    raise ValueError("the key has a password")

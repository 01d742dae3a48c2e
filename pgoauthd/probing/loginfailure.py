"""Why a login to the database went no further, as a sentence with a remedy; reads errors, never connects."""

from __future__ import annotations

import errno
import socket
import ssl

from pgoauthd.probing.parameters import Parameters
from pgoauthd.probing.steps import Failure, Step
from pgoauthd.runtime.idp.fetchfailure import shown
from pgoauthd.runtime.pgclient import LoginResult

NOT_ASKED = Failure(
    "the server let us in without a token",
    "the first line of pg_hba.conf that fits is of the method trust: remove it, as whoever reaches the port can be the "
    "role, and have the line with oauth above all others that fit",
)
_SERVER_LOG = "look into the server's log"
_BY_SQLSTATE = {
    "3D000": "create the database, or correct pg_database",
    "42501": "grant the role CONNECT on the database",
    "53300": "raise the limit, or close connections that nobody uses",
    "57P03": "wait until the server has started, or look at why it is shutting down",
    "0A000": f"{_SERVER_LOG}: it does not take what Kong sends",
}
_NO_LINE = "add a line to pg_hba.conf: hostssl DATABASE ROLE ADDRESS oauth issuer=… scope=…"


def failure_of_error(step: Step, error: OSError, parameters: Parameters) -> Failure:
    """What an exception of `runtime.pgclient` means at this step."""
    where = f"{parameters.host}:{parameters.port}"
    if isinstance(error, TimeoutError):
        what = f"{where} did not answer within {parameters.step_seconds:g} seconds"
        return Failure(what, _TIMEOUT_REMEDIES.get(step, _SERVER_LOG))
    if step is Step.CONNECT:
        return _connect_failure(error, where)
    if step is Step.TLS:
        return _tls_failure(error, where, parameters)
    if isinstance(error, ssl.SSLError):
        return Failure(f"{where} ended the encryption: {_said(error)}", _CERTIFICATE_REMEDY)
    return Failure(f"{where}: {_said(error)}", _SERVER_LOG)


def failure_of_answer(result: LoginResult) -> Failure:
    """What the server's refusal means; its own words are kept."""
    message = result.message or "the server refused without a word"
    if result.discovery is not None:
        return Failure(message, "see below what our own side says, or ask there: pgoauthd events")
    if message.startswith("the server asks for"):
        remedy = "the first line of pg_hba.conf that fits is none of the method oauth: put the one for Kong above it"
        return Failure(message, remedy)
    if "no pg_hba.conf entry" in message:
        return Failure(message, _NO_LINE)
    if result.sqlstate == "28000":  # invalid_authorization_specification
        return Failure(message, "create the role with LOGIN, or correct pg_user")
    return Failure(message, _BY_SQLSTATE.get(result.sqlstate or "", _SERVER_LOG))


_TIMEOUT_REMEDIES = {
    Step.CONNECT: "check host and port, and firewalls on the way",
    Step.TLS: "check that PostgreSQL itself listens there",
    Step.SASL: "the validator takes too long: look at the identity provider and at pgoauthd's own log",
}
_CERTIFICATE_REMEDY = (
    "where the server wants a client certificate (clientcert= in pg_hba.conf), give pg_ssl_cert and pg_ssl_cert_key; "
    + _SERVER_LOG
)


def _connect_failure(error: OSError, where: str) -> Failure:
    if isinstance(error, socket.gaierror):
        return Failure(f"the host of {where} has no address: {_said(error)}", "correct pg_host, or DNS")
    if error.errno == errno.ECONNREFUSED:
        return Failure(f"nothing listens at {where}", "start PostgreSQL, or correct listen_addresses, pg_host, pg_port")
    return Failure(f"{where} cannot be reached: {_said(error)}", "check host and port, routes and firewalls")


def _tls_failure(error: OSError, where: str, parameters: Parameters) -> Failure:
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = (
            "trust its authority (Kong: lua_ssl_trusted_certificate; [[probes]]: sslrootcert), or give the server a "
            f"certificate for {parameters.host}"
        )
        return Failure(f"the certificate of {where} is not trusted: {error.verify_message}", remedy)
    if isinstance(error, ssl.SSLError):
        remedy = "compare ssl_min_protocol_version and ssl_max_protocol_version of the server with pg_ssl_version"
        return Failure(f"{where} and this client cannot agree on TLS: {_said(error)}", remedy)
    if "does not speak TLS" in str(error):
        remedy = "set ssl = on with ssl_cert_file and ssl_key_file in postgresql.conf: Kong requires TLS with OAuth"
        return Failure(f"{where}: {error}", remedy)
    return Failure(f"{where}: {_said(error)}", "check that PostgreSQL itself listens there, and that ssl = on")


def _said(error: OSError) -> str:
    return shown((isinstance(error, ssl.SSLError) and error.reason) or error.strerror or str(error))

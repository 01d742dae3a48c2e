"""The refusal table: every row a token, a login and the reason that they must end in, for the core and for the socket.

A row depends on nothing but the token's text, the login, ISSUER with POLICY (POLICY_TOML in a configuration), the
published key set and the time, so that the same rows can be run against a daemon.
"""

from __future__ import annotations

from typing import Final

from tests.fix_tokens import ISSUER
from tests.tokens.case import MAX_TOKEN_BYTES, POLICY, POLICY_TOML, PUBLISHED_KEYS, Case
from tests.tokens.cases_access import ACCEPTANCES, ACCESS_CASES
from tests.tokens.cases_claims import CLAIMS_CASES
from tests.tokens.cases_format import FORMAT_CASES
from tests.tokens.cases_signature import SIGNATURE_CASES

__all__ = [
    "ACCEPTANCES",
    "CASES",
    "ISSUER",
    "MAX_TOKEN_BYTES",
    "POLICY",
    "POLICY_TOML",
    "PUBLISHED_KEYS",
    "REFUSALS",
    "Case",
]

REFUSALS: Final[tuple[Case, ...]] = (*FORMAT_CASES, *SIGNATURE_CASES, *CLAIMS_CASES, *ACCESS_CASES)
CASES: Final[tuple[Case, ...]] = (*REFUSALS, *ACCEPTANCES)

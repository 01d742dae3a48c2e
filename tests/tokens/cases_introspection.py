"""What an introspection endpoint may answer, and how the login must end: for the core, and for a daemon that asks.

A row depends on nothing but its token, the bytes of the answer, the login, its settings, the published key set and the
time, so that the same rows can be run against a daemon.
"""

from __future__ import annotations

from typing import Final

from tests.tokens.case_introspection import IntrospectionCase
from tests.tokens.cases_answers import ACCESS, ACTIVE, BODIES, CLAIMS, KINDS
from tests.tokens.cases_good_answers import ACCEPTANCES
from tests.tokens.cases_merging import CONTRADICTIONS, DISCLOSURES, MERGING_REFUSALS
from tests.tokens.cases_signed_answers import SIGNED_REFUSALS

__all__ = ["ACCEPTANCES", "CASES", "CONTRADICTIONS", "REFUSALS", "IntrospectionCase"]

REFUSALS: Final[tuple[IntrospectionCase, ...]] = (
    *BODIES,
    *ACTIVE,
    *CLAIMS,
    *KINDS,
    *ACCESS,
    *SIGNED_REFUSALS,
    *MERGING_REFUSALS,
    *DISCLOSURES,
)
CASES: Final[tuple[IntrospectionCase, ...]] = (*REFUSALS, *ACCEPTANCES)

"""Whether the numbers of an RSA key are strong enough to be relied on; knows nothing of where the key came from."""

from __future__ import annotations

MIN_BITS = 2048
"""RFC 7518 section 3.3."""
MAX_BITS = 8192
"""A verification costs the more the longer the key is: a bound on what a login may cost."""
MAX_EXPONENT_BITS = 64
"""The same for the exponent; 65537 has 17."""

_ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
"""The primes below 168 modulo which not everything is a power of 65537; a sound key passes all with chance 2^-27."""


def rsa_weakness(*, n: bytes, e: bytes) -> str | None:
    """What makes the key with this modulus and exponent (big-endian) unfit, or None."""
    modulus, exponent = int.from_bytes(n, "big"), int.from_bytes(e, "big")
    if not MIN_BITS <= modulus.bit_length() <= MAX_BITS:
        return f"it is an RSA key of {modulus.bit_length()} bits; {MIN_BITS} to {MAX_BITS} are allowed"
    if modulus % 2 == 0 or exponent % 2 == 0 or exponent < 3 or exponent.bit_length() > MAX_EXPONENT_BITS:  # noqa: PLR2004 - the least odd exponent that is not the identity
        return "it is an RSA key whose modulus or exponent is not sound"
    if _is_roca(modulus):
        return "it is an RSA key of the weak kind that ROCA finds (CVE-2017-15361)"
    return None


def _is_roca(modulus: int) -> bool:
    """The weak generator made primes that are powers of 65537 modulo every small prime, and so is their product."""
    return all(_is_power_of_65537(modulus % prime, prime) for prime in _ROCA_PRIMES)


def _is_power_of_65537(residue: int, prime: int) -> bool:
    power = 1
    while power != residue:
        power = power * 65537 % prime
        if power == 1:
            return False
    return True

from __future__ import annotations

import math

import pytest

from pgoauthd.tokens.keystrength import rsa_weakness

ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
"""Written down a second time, so that a slip in the first is seen."""
PRODUCT = math.prod(ROCA_PRIMES)
F4 = 65537


def _modulus(residue: int) -> int:
    """An odd number of 2048 bits with this residue modulo all the primes."""
    modulus = (1 << 2047) // (2 * PRODUCT) * (2 * PRODUCT) + 2 * PRODUCT + residue
    return modulus if modulus % 2 else modulus + PRODUCT


def _weakness(modulus: int, exponent: int = F4) -> str | None:
    return rsa_weakness(n=modulus.to_bytes(1100, "big"), e=exponent.to_bytes(32, "big"))


@pytest.mark.parametrize("power", [0, 1, 2, 1000, 123_456_789])
def test_a_modulus_that_is_a_power_of_65537_everywhere_is_of_the_weak_kind(power: int) -> None:
    assert "ROCA" in (_weakness(_modulus(pow(F4, power, PRODUCT))) or "")


@pytest.mark.parametrize("prime", ROCA_PRIMES)
def test_one_prime_where_it_is_no_power_of_65537_clears_a_modulus(prime: int) -> None:
    powers = {pow(F4, power, prime) for power in range(prime)}
    others = PRODUCT // prime
    shifted = (F4 + others * step for step in range(1, prime))
    assert _weakness(_modulus(next(residue for residue in shifted if residue % prime not in powers | {0}))) is None


def test_a_modulus_that_a_small_prime_divides_is_not_taken_for_the_weak_kind() -> None:
    assert _weakness(_modulus(0)) is None


@pytest.mark.parametrize(("bits", "weak"), [(2047, True), (2048, False), (8192, False), (8193, True)])
def test_the_size_of_a_modulus_is_bounded_on_both_sides(bits: int, weak: bool) -> None:
    assert (_weakness((1 << (bits - 1)) + 1) is not None) is weak


@pytest.mark.parametrize(
    ("exponent", "weak"),
    [(0, True), (1, True), (2, True), (3, False), (4, True), ((1 << 64) - 1, False), ((1 << 64) + 1, True)],
)
def test_an_exponent_is_odd_above_one_and_bounded(exponent: int, weak: bool) -> None:
    assert (_weakness((1 << 2047) + 1, exponent) is not None) is weak

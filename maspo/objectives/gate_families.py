"""SAPO with other gates: error function, arctangent and softsign in place of the sigmoid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maspo.core.settings import override
from maspo.objectives.sapo import SAPO


@dataclass(frozen=True, kw_only=True)
class GateErf(SAPO):
    """SAPO with an error function: the gate has Gaussian tails.

        J = (1 + (√π / 2τ) erf(τ (ρ - 1))) A     τ = τ_pos if A > 0 else τ_neg

    Weight of a token: w = ρ exp(-τ² (ρ - 1)²).

    Source: arXiv:2602.19345 names the family. Its normalisation is not known to us: here the gate is
    1 at ρ = 1, τ multiplies ρ - 1, and J = A at ρ = 1. The temperatures are SAPO's.
    """

    title: ClassVar[str] = "Gate: error function"
    arxiv: ClassVar[str] = "2602.19345"
    shape: str = override(SAPO, "shape", "erf")


@dataclass(frozen=True, kw_only=True)
class GateArctan(SAPO):
    """SAPO with an arctangent: the gate is a Lorentzian, its tails fall with the square.

        J = (1 + arctan(τ (ρ - 1)) / τ) A        τ = τ_pos if A > 0 else τ_neg

    Weight of a token: w = ρ / (1 + τ² (ρ - 1)²).

    Source: arXiv:2602.19345 names the family. Its normalisation is not known to us: here the gate is
    1 at ρ = 1, τ multiplies ρ - 1, and J = A at ρ = 1. The temperatures are SAPO's.
    """

    title: ClassVar[str] = "Gate: arctangent"
    arxiv: ClassVar[str] = "2602.19345"
    shape: str = override(SAPO, "shape", "arctan")


@dataclass(frozen=True, kw_only=True)
class GateSoftsign(SAPO):
    """SAPO with a softsign: tails that fall with the square, and a gate pointed at 1.

        J = (1 + x / (1 + τ |x|)) A, x = ρ - 1   τ = τ_pos if A > 0 else τ_neg

    Weight of a token: w = ρ / (1 + τ |ρ - 1|)².

    Source: arXiv:2602.19345 names the family. Its normalisation is not known to us: here the gate is
    1 at ρ = 1, τ multiplies ρ - 1, and J = A at ρ = 1. The temperatures are SAPO's.
    """

    title: ClassVar[str] = "Gate: softsign"
    arxiv: ClassVar[str] = "2602.19345"
    shape: str = override(SAPO, "shape", "softsign")

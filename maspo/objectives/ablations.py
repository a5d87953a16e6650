"""MASPO with one part changed at a time, to see what the part contributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maspo.core.settings import override
from maspo.objectives.maspo import MASPO


@dataclass(frozen=True, kw_only=True)
class MASPOSequence(MASPO):
    """MASPO on the ratio of the sequence, length-normalised as in GSPO.

        J = sg(F) s A        s = exp(mean log ρ), π_old in σ: exp(mean log π_old)

    Weight of a token: w = s F, the same for all tokens of a sequence. Shows what the token level
    contributes. A combination of ours: MASPO is arXiv:2602.17550, the sequence ratio GSPO's.
    """

    title: ClassVar[str] = "MASPO, sequence level"
    level: str = override(MASPO, "level", "sequence")


@dataclass(frozen=True, kw_only=True)
class MASPONoMass(MASPO):
    """MASPO blind to probability: every token has a gate of the same width.

        σ = σ_base · r       (α = 0)

    Weight of a token: w = ρ F. Shows what widening the gate for rare tokens contributes. Ablation of
    arXiv:2602.17550.
    """

    title: ClassVar[str] = "MASPO without mass"
    radius: ClassVar[str] = "σ_base, times the risk factor of A"
    mass_aware: ClassVar[bool] = False
    alpha: float = override(MASPO, "alpha", 0.0)


@dataclass(frozen=True, kw_only=True)
class MASPONoRisk(MASPO):
    """MASPO blind to the size of the advantage.

        σ = min(σ_base / π_old^α, σ_high)       (β⁺ = β⁻ = 0)

    Weight of a token: w = ρ F. Shows what the risk factor contributes. Ablation of arXiv:2602.17550.
    """

    title: ClassVar[str] = "MASPO without risk"
    radius: ClassVar[str] = "σ_base / π_old^α"
    sign_asymmetric: ClassVar[bool] = False
    beta_pos: float = override(MASPO, "beta_pos", 0.0)
    beta_neg: float = override(MASPO, "beta_neg", 0.0)


@dataclass(frozen=True, kw_only=True)
class MASPOHard(MASPO):
    """A clip with MASPO's radius.

        J = min(ρ A, clip(ρ, 1 - σ, 1 + σ) A)

    Weight of a token: w = ρ within σ, else 0. Shows what the softness of the gate contributes. With
    σ_base = 1 a negative token is cut only where r brings its σ below 1; PPO's radius is
    sigma_base=0.2. Ablation of arXiv:2602.17550.
    """

    title: ClassVar[str] = "MASPO with a hard gate"
    shape: str = override(MASPO, "shape", "hard")


@dataclass(frozen=True, kw_only=True)
class MASPOCapped(MASPO):
    """MASPO with the bound that its paper leaves out.

        J = sg(F) ρ A, and c A if A < 0 and ρ > c

    Weight of a token: w = ρ F, and 0 with A < 0 and ρ > c. Shows whether the unbounded side is what
    makes a run collapse. c = 3 as in dual-clip PPO, whose setting MASPO's release carries without
    using it. MASPO is arXiv:2602.17550.
    """

    title: ClassVar[str] = "MASPO, capped"
    cap: float | None = override(MASPO, "cap", 3.0)

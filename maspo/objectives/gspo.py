"""GSPO, its token form, and LUSPO: one ratio for a whole sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maspo.core.objective import SequenceObjective
from maspo.core.settings import override
from maspo.objectives.grpo import GRPO


@dataclass(frozen=True, kw_only=True)
class GSPOToken(GRPO):
    """GSPO's ratio and clip, with an advantage for every token.

        J = min(s A_t, clip(s, 1 - ε_low, 1 + ε_high) A_t)
        s = sg(exp(1/|o| Σ log(π / π_old))) π / sg(π)

    Weight of a token: w = s, and 0 where the clip binds, decided by the sign of its own A_t. With one
    advantage a sequence it is `gspo` exactly.

    Source: arXiv:2507.18071, section 4.3. This is the form that verl computes under the name
    gspo, except that verl holds log s at 10 from above.
    """

    title: ClassVar[str] = "GSPO-token"
    arxiv: ClassVar[str] = "2507.18071"
    radius: ClassVar[str] = "constant ε on the sequence's mean log ratio"
    sign_asymmetric: ClassVar[bool] = True
    reduction: ClassVar[str] = "seq-mean-token-mean"

    epsilon_low: float = override(
        GRPO,
        "epsilon_low",
        0.0003,
        doc="how far below 1 a sequence ratio keeps its gradient, with A < 0",
    )
    epsilon_high: float = override(
        GRPO,
        "epsilon_high",
        0.0004,
        doc="how far above 1 a sequence ratio keeps its gradient, with A > 0",
    )
    level: str = override(
        GRPO,
        "level",
        "sequence",
        doc="sequence: exp of the sequence's mean log ratio; token: ρ of the token, as in GRPO",
    )


@dataclass(frozen=True, kw_only=True)
class GSPO(SequenceObjective, GSPOToken):
    """PPO's clip on the length-normalised ratio of the sequence.

        J = min(s A, clip(s, 1 - ε_low, 1 + ε_high) A)      s = exp(1/|o| Σ log(π / π_old))

    J belongs to the sequence and stands at each of its tokens. Weight of a token: w = s, and 0 in
    a sequence where A > 0 with s > 1 + ε_high or A < 0 with s < 1 - ε_low. This is the gradient of
    the paper's mean over sequences under seq-mean-token-mean; under token-mean a sequence counts
    by its length, which verl 0.9 allows and configures. Where the advantages differ along a sequence
    their mean is used; `gspo_token` keeps them apart.

    The bounds are those of the paper's runs. GRPO's 0.2 would never bind: s averages the noise of the
    tokens away.

    Source: arXiv:2507.18071. TRL: importance_sampling_level="sequence". verl has the token form
    and holds log s at 10 from above, ours at ± `max_log_ratio`.
    """

    title: ClassVar[str] = "GSPO"


@dataclass(frozen=True, kw_only=True)
class LUSPO(GSPO):
    """GSPO times the length of the sequence, so that long ones are not held down.

        J = |o| min(s A, clip(s, 1 - ε_low, 1 + ε_high) A)      s = exp(1/|o| Σ log(π / π_old))

    Weight of a token: that of `gspo`. The factor |o| is the reduction's: seq-mean-token-sum in place
    of seq-mean-token-mean, and LUSPO under another one is GSPO with wider bounds.

    Source: arXiv:2602.05261, as TRL has it (loss_type="luspo"); the authors' code was not to be had.
    Before TRL 1.16 sequences counted by |o|² as soon as a KL or correction term was added.
    """

    title: ClassVar[str] = "LUSPO"
    arxiv: ClassVar[str] = "2602.05261"
    reduction: ClassVar[str] = "seq-mean-token-sum"

    epsilon_low: float = override(GSPO, "epsilon_low", 0.002)
    epsilon_high: float = override(GSPO, "epsilon_high", 0.0025)

"""TRL's words that we rely on; importing this does not import TRL."""

from maspo.engines.engine import Supported

SUPPORTED = Supported(title="TRL", package="trl", window=">=1.16,<1.17")
"""The versions that the contract tests ran on."""

OWNED_BY_THE_OBJECTIVE = (
    "epsilon",
    "epsilon_high",
    "delta",
    "importance_sampling_level",
    "sapo_temperature_pos",
    "sapo_temperature_neg",
    "vespo_k_pos",
    "vespo_lambda_pos",
    "vespo_k_neg",
    "vespo_lambda_neg",
)
"""Settings of TRL's own losses: with an objective in their place they would do nothing."""

"""TRL's words that we rely on; importing this does not import TRL."""

from maspo.engines.supported import Supported

SUPPORTED = Supported(
    title="TRL", package="trl", window=">=1.14.1", tested=("1.14.1", "1.15.0", "1.16.0"),
    apart_from="verl",
)  # fmt: skip
"""The versions that are taken; those that the tests did not run on give evidence, see `evidence.py`."""

FIELDS = {
    "epsilon": "epsilon_low and epsilon_high of GRPO",
    "epsilon_high": "epsilon_high of GRPO",
    "delta": "cap",
    "importance_sampling_level": "level of GSPO",
    "sapo_temperature_pos": "tau_pos of SAPO",
    "sapo_temperature_neg": "tau_neg of SAPO",
    "vespo_k_pos": "k_pos of VESPO",
    "vespo_lambda_pos": "lambda_pos of VESPO",
    "vespo_k_neg": "k_neg of VESPO",
    "vespo_lambda_neg": "lambda_neg of VESPO",
}
"""Settings of TRL's own losses, which an objective in their place would leave idle: where ours are."""

OWNED_BY_THE_OBJECTIVE = tuple(FIELDS)

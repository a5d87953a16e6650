"""What Tinker hands to a loss."""

from maspo.engines.doors import Door

DOOR = Door(
    title="Tinker",
    package="tinker",
    module="tinker",
    place="training_client.forward_backward_custom(data, maspo.engines.tinker.loss(...))",
    tried="0.38.0",
    hands=frozenset({"entropies", "groups"}),
    whole=True,
)

"""The public names."""

from __future__ import annotations


def page() -> str:
    """List the public names that are no objectives, which have pages of their own."""
    import maspo
    from maspo.objectives import BUILT_IN

    names = sorted(set(maspo.__all__) - {kind.__name__ for kind in BUILT_IN.values()})
    text = (
        "# Python API\n\nThe public names of `maspo` but the [objectives](objectives/index.md). "
        "`import maspo` costs torch and nothing else. "
        "Tensors are `[batch, time]`, log-probabilities in nats.\n"
    )
    homes = [(_home(name), name) for name in names]
    text += "".join(f"\n::: {home}.{name}\n" for home, name in homes)
    text += "\n::: maspo.core.objective.GatedObjective\n\n::: maspo.core.batch.TokenBatch\n"
    return text + "\n::: maspo.engines.host.host_loss\n"


def _home(name: str) -> str:
    import maspo

    homes = (module for module, names in maspo._HOMES.items() if name in names)
    return next(homes, "maspo.objectives")

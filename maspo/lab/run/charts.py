"""What the charts of a training run show: the keys of `metrics.jsonl`, named and explained."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from maspo.lab.formatting import shortened
from maspo.lab.style import COLORS

_OTHERS = [name for name in COLORS if name not in ("blue", "gray")]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a chart: a key of `metrics.jsonl`; `band` names the keys of a shaded range."""

    metric: str
    label: str
    color: str
    band: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One picture of a run, drawn by matplotlib here and interactively in the report."""

    name: str
    group: str
    axis: str
    note: str
    series: tuple[Series, ...]
    each: str | None = None
    """Pattern of further keys, of which each that occurs is a line under the name that {} stands for."""
    percent: bool = False
    log: bool = False


LEARNING, GATE, MOVEMENT, COMPLETIONS = (
    "Learning",
    "The gate",
    "How far the policy moved",
    "Completions",
)

CHARTS = (
    Chart(
        name="reward",
        group=LEARNING,
        axis="Mean reward",
        note="Mean over the rollout's completions of the weighted sum, and of each reward by itself.",
        series=(Series(metric="reward", label="weighted sum", color="blue"),),
        each="rewards/{}/mean",
    ),
    Chart(
        name="no_signal",
        group=LEARNING,
        axis="Groups without signal",
        note="Share of groups whose completions all got the same reward: nothing to learn there.",
        series=(Series(metric="frac_reward_zero_std", label="no signal", color="blue"),),
        percent=True,
    ),
    Chart(
        name="entropy",
        group=LEARNING,
        axis="Entropy (nats a token)",
        note="Falling towards zero means that the policy has stopped exploring.",
        series=(Series(metric="entropy", label="entropy", color="blue"),),
    ),
    Chart(
        name="grad_norm",
        group=LEARNING,
        axis="Gradient norm",
        note="Before clipping of the norm.",
        series=(Series(metric="grad_norm", label="norm", color="blue"),),
    ),
    Chart(
        name="gate",
        group=GATE,
        axis="Mean gate, by sign of A",
        note="1 keeps a token's whole weight. A is the advantage.",
        series=(
            Series(metric="maspo/gate_mean_pos", label="A > 0", color="blue"),
            Series(metric="maspo/gate_mean_neg", label="A < 0", color="orange"),
        ),
    ),
    Chart(
        name="gate_active",
        group=GATE,
        axis="Tokens held back",
        note="Share of tokens that lost more than 1% of their weight to the gate, "
        "or that a hard clip removed.",
        series=(
            Series(metric="maspo/gate_active", label="gate < 0.99", color="blue"),
            Series(metric="clip_ratio/region_mean", label="clipped", color="orange"),
        ),
        percent=True,
    ),
    Chart(
        name="gate_by_probability",
        group=GATE,
        axis="Mean gate, by probability",
        note="By the probability the old policy gave the token.",
        series=(
            Series(metric="maspo/gate_mean_prob_low", label="below 0.1", color="sky"),
            Series(metric="maspo/gate_mean_prob_mid", label="0.1 to 0.9", color="blue"),
            Series(metric="maspo/gate_mean_prob_high", label="above 0.9", color="orange"),
        ),
    ),
    Chart(
        name="width",
        group=GATE,
        axis="Gate width (sigma)",
        note="Median over tokens; the band runs from the 10th to the 90th percentile.",
        series=(
            Series(
                metric="maspo/width_p50",
                label="median",
                color="blue",
                band=("maspo/width_p10", "maspo/width_p90"),
            ),
        ),
    ),
    Chart(
        name="gradient_mass",
        group=GATE,
        axis="Gradient mass / GRPO's",
        note="Gradient mass kept, divided by what a hard clip would keep on the same tokens.",
        series=(Series(metric="maspo/grad_mass_vs_clip", label="kept", color="blue"),),
    ),
    Chart(
        name="ratio",
        group=MOVEMENT,
        axis="Mean ratio",
        note="Probability under the policy divided by that under the policy that sampled; "
        "the weight is what is left of it after the gate.",
        series=(
            Series(metric="maspo/ratio_mean", label="ratio", color="gray"),
            Series(metric="maspo/effective_ratio_mean", label="weight", color="blue"),
        ),
    ),
    Chart(
        name="ratio_tail",
        group=MOVEMENT,
        axis="Ratio, upper tail",
        note="The ratio that 1% of the tokens exceed; logarithmic axis.",
        series=(Series(metric="maspo/ratio_p99", label="99th perc.", color="blue"),),
        log=True,
    ),
    Chart(
        name="length",
        group=COMPLETIONS,
        axis="Tokens a completion",
        note="Mean length of the sampled completions.",
        series=(Series(metric="completions/mean_length", label="tokens", color="blue"),),
    ),
    Chart(
        name="cut_off",
        group=COMPLETIONS,
        axis="Cut off",
        note="Share of completions that ran into the length limit.",
        series=(Series(metric="completions/clipped_ratio", label="cut off", color="blue"),),
        percent=True,
    ),
)


def present(rows: Sequence[dict]) -> list[tuple[Chart, list[Series]]]:
    """Pair each chart with those of its series that at least one row has a value for."""
    seen = list(dict.fromkeys(key for row in rows for key, v in row.items() if v is not None))
    pairs = [
        (chart, [s for s in (*chart.series, *_each(chart, seen, rows)) if s.metric in seen])
        for chart in CHARTS
    ]
    return [(chart, series) for chart, series in pairs if series]


def _each(chart: Chart, seen: Sequence[str], rows: Sequence[dict]) -> list[Series]:
    """Return a line for every key that the chart's pattern fits, in the order of the metrics.

    One that would lie under the chart's own line in every row is left out.
    """

    def same(key: str) -> bool:
        return all(row.get(key) == row.get(chart.series[0].metric) for row in rows)

    if chart.each is None:
        return []
    before, after = chart.each.split("{}")
    names = [
        key.removeprefix(before).removesuffix(after)
        for key in seen
        if key.startswith(before) and key.endswith(after) and not same(key)
    ]
    return [
        Series(metric=chart.each.format(name), label=shortened(name), color=color)
        for name, color in zip(names, cycle(_OTHERS), strict=False)
    ]


EVALUATION = "evaluation"
"""Name of the chart of the evaluations."""


def evaluation_chart(evaluated: Sequence[dict]) -> tuple[Chart, list[Series]]:
    """Return the chart of avg@k over the evaluations of a run, whose lines are `evaluated`."""
    metric = evaluated[0]["metric"]
    series = Series(metric="value", label=metric, color="blue", band=("low", "high"))
    note = "On the held-out problems; the band is the 95% interval over problems."
    chart = Chart(
        name=EVALUATION,
        group="Evaluation",
        axis=metric.capitalize(),
        note=note,
        series=(series,),
        percent=True,
    )
    return chart, [series]

"""The pictures show the numbers that they were given."""

import io

import pytest
import torch

import maspo
from maspo.lab.formatting import running_mean
from maspo.lab.run.charts import CHARTS, present
from maspo.lab.run.plots import gate_figure, training_figures, weight_curve


def png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue()


def curves(axes):
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()]


@pytest.mark.parametrize(
    ("objective", "q", "log_ratio", "sign", "expected"),
    [
        # Values of the methods' published functions.
        (maspo.MASPO(), 0.5, 0.3, 1, 1.299449),
        (maspo.MASPO(), 0.5, -0.3, -1, 0.723605),
        (maspo.MASPO(), 0.01, 1.5, 1, 3.125283),
        (maspo.SAPO(), 0.5, 0.3, 1, 1.309381),
        (maspo.GRPO(), 0.5, 0.3, 1, 0.0),
        (maspo.GRPO(), 0.5, 0.3, -1, 1.349859),
    ],
)
def test_weights_come_from_the_objective(objective, q, log_ratio, sign, expected):
    ratio = torch.tensor([log_ratio], dtype=torch.float64).exp()
    assert weight_curve(objective, ratio, q, sign).tolist() == pytest.approx([expected], abs=1e-6)


def test_gate_figure_draws_a_panel_for_each_sign():
    figure = gate_figure()
    assert png(figure).startswith(b"\x89PNG")
    assert len(figure.axes) == 2
    for axes, end in zip(figure.axes, (4, 2), strict=True):
        longest = {round(float(max(x)), 1) for x, _ in curves(axes) if len(x) > 2}
        assert longest == {2.0, end}  # at pi_old = 0.5 no ratio can pass 2


def test_gate_figure_clips_grpo_at_a_fifth():
    positive, negative = gate_figure().axes
    for axes, cut in ((positive, 1.2), (negative, 0.8)):
        ends_at_zero = [c for c in curves(axes) if 0.0 in c[1] and len(c[1]) > 2]
        assert len(ends_at_zero) == 1
        x, y = ends_at_zero[0]
        dropped = [a for a, b in zip(x, y, strict=True) if b == 0]
        edge = min(dropped) if cut > 1 else max(dropped)
        assert edge == pytest.approx(cut, abs=0.003)


def test_every_chart_is_drawn_from_its_own_keys():
    keys = {key for chart in CHARTS for s in chart.series for key in (s.metric, *(s.band or ()))}
    rows = [{"step": step, **dict.fromkeys(keys, 0.5 + step)} for step in range(1, 6)]
    figures = training_figures(rows)
    assert set(figures) == {chart.name for chart in CHARTS}
    assert all(png(figure).startswith(b"\x89PNG") for figure in figures.values())


def test_every_reward_has_a_line_under_its_name():
    row = {"step": 1, "reward": 0.7, "rewards/closeness/mean": 0.4, "rewards/a/b/mean": 1.0,
           "rewards/closeness/std": 0.1}  # fmt: skip
    [(chart, lines)] = present([row])
    assert chart.name == "reward"
    assert [one.label for one in lines] == ["weighted sum", "closeness", "a/b"]
    assert len({one.color for one in lines}) == 3


def test_a_chart_without_values_is_left_out():
    rows = [{"step": 1, "entropy": 0.9, "reward": None}, {"step": 2, "entropy": 0.7}]
    assert set(training_figures(rows)) == {"entropy"}
    assert training_figures([]) == {}


def test_a_line_skips_the_steps_that_were_not_logged():
    rows = [{"step": 1, "reward": 0.25}, {"step": 2, "reward": None}, {"step": 9, "reward": 0.75}]
    [line] = training_figures(rows)["reward"].axes[0].get_lines()
    assert list(line.get_xdata()) == [1, 9]
    assert list(line.get_ydata()) == [0.25, 0.75]


def test_two_lines_are_named_at_their_ends_without_overlap():
    gate = {"maspo/gate_mean_pos": 0.9, "maspo/gate_mean_neg": 0.9}
    axes = training_figures([{"step": 1, **gate}, {"step": 2, **gate}])["gate"].axes[0]
    low, high = sorted(text.get_position()[1] for text in axes.texts)
    assert {text.get_text() for text in axes.texts} == {"A > 0", "A < 0"}
    assert high - low > 0.08


def test_running_mean_by_hand():
    assert running_mean([1.0, None, 4.0]) == [1.0, None, 4.0]
    # 60 values make a window of 3; at an end the window keeps its size.
    values = [float(v) for v in range(60)]
    smooth = running_mean([None, *values])
    assert smooth[:4] == [None, 1.0, 1.0, 2.0]
    assert smooth[-2:] == [58.0, 58.0]


def test_pictures_bear_the_name_of_the_run_and_titles_of_their_own():
    rows = [{"step": n, "maspo/ratio_p99": 1.0 + n / 100} for n in (1, 2)]
    axes = training_figures(rows, "run-7")["ratio_tail"].axes[0]
    assert axes.get_title(loc="left") == "run-7"
    low, high = axes.get_ylim()
    assert sum(low <= tick <= high for tick in axes.get_yticks()) > 1
    names = [chart.axis for chart in CHARTS]
    assert len(set(names)) == len(names)


def test_a_reward_that_is_the_weighted_sum_is_drawn_once():
    one = [{"step": 1, "reward": 0.5, "rewards/accuracy/mean": 0.5}]
    two = [*one, {"step": 2, "reward": 0.5, "rewards/accuracy/mean": 0.25}]
    drawn = [len(dict((c.name, s) for c, s in present(rows))["reward"]) for rows in (one, two)]
    assert drawn == [1, 2]

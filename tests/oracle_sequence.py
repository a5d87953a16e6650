"""The objectives that look at whole sequences or batches, in plain Python like `oracle`.

Each function takes a batch, a list of sequences that are lists of (log π, log π_old, A), and returns
the same lists of (J, slope): the surrogate at a token, and the derivative by its log π of the sum of
all J, stop-gradients respected; for J that belong to a sequence, of |o| J, its sum over the tokens.
"""

from fractions import Fraction
from math import exp, log

from oracle import maspo, maspo_width, ppo


def each_sequence(rule):
    """Make an oracle of batches of one of sequences."""

    def oracle(batch, **settings):
        return [rule(sequence, **settings) for sequence in batch if sequence]

    return oracle


def mean(values):
    """Average."""
    values = list(values)
    return sum(values) / len(values)


@each_sequence
def gspo_token(tokens, **clip):
    """PPO's clip on the mean log ratio, with the advantage of the token."""
    drift = mean(l - l_old for l, l_old, _ in tokens)
    return [ppo(drift, 0.0, a, **clip) for _, _, a in tokens]


@each_sequence
def gspo(tokens, **clip):
    """PPO's clip on the mean log ratio, with the mean advantage."""
    drift, a = mean(l - l_old for l, l_old, _ in tokens), mean(a for _, _, a in tokens)
    return [ppo(drift, 0.0, a, **clip)] * len(tokens)


@each_sequence
def gmpo(tokens, epsilon_low=0.4, epsilon_high=0.4, cap=None):
    """A exp(mean of clipped log ratios)."""
    a, drifts = mean(a for _, _, a in tokens), [l - l_old for l, l_old, _ in tokens]
    held = [max(d, -epsilon_low) if a < 0 else min(d, epsilon_high) for d in drifts]
    geo = exp(mean(held))
    if a < 0 and cap is not None and geo > cap:
        return [(cap * a, 0.0)] * len(tokens)
    return [(geo * a, geo * a if h == d else 0.0) for h, d in zip(held, drifts, strict=True)]


@each_sequence
def vespo(tokens, k_pos=2.0, lambda_pos=3.0, k_neg=3.0, lambda_neg=2.0):
    """A log π times W^k exp(λ(1 - W)), the factor constant."""
    w = 1.0
    for l, l_old, _ in tokens:
        w *= exp(l) / exp(l_old)
    k, decay = (k_neg, lambda_neg) if mean(a for _, _, a in tokens) < 0 else (k_pos, lambda_pos)
    phi = w**k * exp(decay * (1 - w))
    return [(phi * a * l, phi * a) for l, _, a in tokens]


def steps(start, end, step):
    """Walk from `start` to `end` in decimal arithmetic, the last step shortened if need be."""
    at, end, step = (Fraction(str(x)) for x in (start, end, step))
    walked = [float(at)]
    while at < end:
        at = min(at + step, end)
        walked.append(float(at))
    return walked


def bapo_bounds(
    batch, target=0.4, upper_start=1.2, upper_max=3.0, upper_step=0.05, lower_start=0.6,
    lower_max=0.9, lower_step=0.02, first="upper", by_mass=True,
):  # fmt: skip
    """Move one bound, then the other, until the share of the positive tokens is reached."""
    moves = {"upper": steps(upper_start, upper_max, upper_step)}
    moves["lower"] = steps(lower_start, lower_max, lower_step)
    bounds = {side: rungs.pop(0) for side, rungs in moves.items()}

    def share():
        positive = everything = 0.0
        for l, l_old, a in (token for sequence in batch for token in sequence):
            ratio = exp(l - l_old)
            clipped = min(max(ratio, bounds["lower"]), bounds["upper"])
            part = abs(min(ratio * a, clipped * a)) * (exp(l_old) if by_mass else 1.0)
            everything += part
            positive += part if a > 0 else 0.0
        return positive / everything if everything else 1.0

    for side in (first, "lower" if first == "upper" else "upper"):
        while share() < target and moves[side]:
            bounds[side] = moves[side].pop(0)
    return bounds["lower"], bounds["upper"]


def bapo(batch, cap=None, **search):
    """PPO's clip with the bounds found."""
    low, high = bapo_bounds(batch, **search)
    return [
        [ppo(l, l_old, a, 1 - low, high - 1, cap) for l, l_old, a in sequence]
        for sequence in batch
        if sequence
    ]


BAPO_RELEASED = {
    "target": 0.5, "lower_max": 0.8, "lower_step": 0.05, "upper_max": 2.0, "first": "lower",
    "by_mass": False, "cap": 3.0,
}  # fmt: skip


def calibrated_scale(batch, keep=0.9, narrowest=0.05, shape="gaussian", two_sided=False, **radius):
    """Widen the gate, scale by scale, until it leaves the share `keep` of what it acts on."""
    acted_on = [
        (exp(l - l_old), a, maspo_width(l_old, a, **radius))
        for l, l_old, a in (token for sequence in batch for token in sequence)
        if a * (l - l_old) > 0 or (two_sided and a)
    ]
    for rung in range(24):
        scale = narrowest ** ((23 - rung) / 23)
        left = 0.0
        for ratio, a, width in acted_on:
            z = (ratio - 1) / (scale * width)
            gate = exp(-z * z / 2) if shape == "gaussian" else float(abs(z) <= 1)
            left += ratio * abs(a) * gate
        if left >= keep * sum(ratio * abs(a) for ratio, a, _ in acted_on):
            return scale
    return 1.0


def maspo_calibrated(batch, keep=0.9, narrowest=0.05, sigma_base=1.0, sigma_high=10.0, **rest):
    """MASPO with both bounds of its width scaled."""
    radius = {"sigma_base": sigma_base, "sigma_high": sigma_high, **rest}
    search = {key: value for key, value in radius.items() if key != "cap"}
    scale = calibrated_scale(batch, keep, narrowest, **search)
    scaled = radius | {"sigma_base": sigma_base * scale, "sigma_high": sigma_high * scale}
    return [[maspo(*token, **scaled) for token in sequence] for sequence in batch if sequence]


def drift_scale(batch, drift=0.01):
    """The square of the allowed drift over the batch's: the mean share that live tokens have lost."""
    tokens = [token for sequence in batch for token in sequence]
    lost = [max(0.0, 1 - exp(l - l_old)) for l, l_old, a in tokens if a]
    return min(1.0, drift / mean(lost)) ** 2 if any(lost) else 1.0


def maspo_drift(batch, drift=0.01, sigma_base=1.0, sigma_high=10.0, **rest):
    """MASPO with both bounds of its width scaled."""
    scale = drift_scale(batch, drift)
    scaled = rest | {"sigma_base": sigma_base * scale, "sigma_high": sigma_high * scale}
    return [[maspo(*token, **scaled) for token in sequence] for sequence in batch if sequence]


def covariances(batch):
    """(A - mean A)(log π - mean log π), in the order of the tokens."""
    tokens = [token for sequence in batch for token in sequence]
    mean_a, mean_l = mean(a for _, _, a in tokens), mean(l for l, _, _ in tokens)
    return [(a - mean_a) * (l - mean_l) for l, _, a in tokens]


def clip_cov_all(batch, epsilon_low=1.0, epsilon_high=1.0, cov_low=1.0, cov_high=5.0, **_):
    """Clip-Cov that drops every candidate, so that there is nothing to draw."""
    flat = iter(covariances(batch))
    return [
        [
            (0.0, 0.0) if cov_low < next(flat) < cov_high and slope else (value, slope)
            for l, l_old, a in sequence
            for value, slope in [ppo(l, l_old, a, epsilon_low, epsilon_high)]
        ]
        for sequence in batch
        if sequence
    ]


def kl_cov(batch, fraction=2e-3, beta=1.0):
    """ρA, with -β|log ρ| where the covariance is highest."""
    flat = covariances(batch)
    count = max(1, int(len(flat) * fraction))
    chosen = set(sorted(range(len(flat)), key=lambda i: -flat[i])[:count])
    found, i = [], 0
    for sequence in batch:
        row = []
        for l, l_old, a in sequence:
            ratio, pull = exp(l - l_old), beta if i in chosen else 0.0
            sign = (l > l_old) - (l < l_old)
            row.append((ratio * a - pull * abs(l - l_old), ratio * a - pull * sign))
            i += 1
        found.append(row)
    return [row for row in found if row]


def real(batch, groups, tau=0.5):
    """The two logarithms of each group, and their derivatives by the score of each response."""
    found = []
    for number, tokens in zip(groups, batch, strict=True):
        if not tokens:
            continue
        group = [other for g, other in zip(groups, batch, strict=True) if g == number and other]
        loss, slope = 0.0, 0.0
        for sign in (-1, 1):
            labelled = [other for other in group if sign * mean(a for _, _, a in other) > 0]
            sums = [
                exp(-sign * mean(l - l_old for l, l_old, _ in other) / tau) for other in labelled
            ]
            loss += log(1 + sum(sums))
            if any(other is tokens for other in labelled):
                own = exp(-sign * mean(l - l_old for l, l_old, _ in tokens) / tau)
                slope = sign * len(group) * own / (1 + sum(sums)) / tau
        found.append([(-loss, slope)] * len(tokens))
    return found


def percentile(values, share):
    """Interpolate between the two order statistics around `share`."""
    values = sorted(values)
    at = share * (len(values) - 1)
    low = min(int(at), len(values) - 2) if len(values) > 1 else 0
    high = min(low + 1, len(values) - 1)
    return values[low] + (at - low) * (values[high] - values[low])


@each_sequence
def cppo(tokens, delta=0.15, last_weight=0.8, budget=0.02):
    """The ratio of tokens that move back, or stay within what the prefix left over."""
    moved = [abs(exp(l) - exp(l_old)) for l, l_old, _ in tokens]
    b = min(max(percentile(moved, 0.9), budget), 2 * budget)
    found, spent, earned = [], 0.0, 0.0
    for t, ((l, l_old, a), d) in enumerate(zip(tokens, moved, strict=True)):
        w = 1 - (1 - last_weight) * t / (len(tokens) - 1) if len(tokens) > 1 else 1.0
        ratio = exp(l - l_old)
        keep = a * (ratio - 1) <= 0 or w * d <= min(delta, delta + b * earned - spent)
        found.append((ratio * a, ratio * a) if keep else (0.0, 0.0))
        spent, earned = spent + w * d, earned + w
    return found


@each_sequence
def fipo(
    tokens, half_life=32.0, weight_low=1.0, weight_high=1.2, safety=4.0, cap=10.0,
    epsilon_low=0.2, epsilon_high=0.28,
):  # fmt: skip
    """PPO's clip times the bounded drift of the suffix."""
    found = []
    for t, (l, l_old, a) in enumerate(tokens):
        total = 0.0
        for k, (m, m_old, _) in enumerate(tokens[t:]):
            if cap is None or exp(m - m_old) <= cap:
                total += 0.5 ** (k / half_life) * (m - m_old)
        f = min(max(exp(total), weight_low), weight_high)
        if safety is not None and a < 0 and exp(l - l_old) > safety:
            f = min(max(f, 0.8), 1.0)
        value, slope = ppo(l, l_old, a, epsilon_low, epsilon_high, cap)
        found.append((f * value, f * slope))
    return found

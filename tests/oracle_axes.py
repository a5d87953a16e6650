"""The axes beside the objective again, in plain Python: no torch and nothing of maspo.

Objectives as in `oracle`: (J, slope) of one token. Advantages take groups as lists of lists.
"""

from math import exp, sqrt
from statistics import fmean


def clipped(l, l_old, a, epsilon_low=0.2, epsilon_high=0.2):
    """min(ρA, clip(ρ)A), whose slope is ρA where the first of the two is the smaller."""
    ratio = exp(l - l_old)
    bounded = max(1 - epsilon_low, min(ratio, 1 + epsilon_high))
    free = ratio * a <= bounded * a
    return min(ratio * a, bounded * a), ratio * a if free else 0.0


def reinforce(l, l_old, a):
    """A log π."""
    return a * l, a


def mean_and_deviation(values, ddof):
    """Mean and standard deviation with divisor n - ddof."""
    mean = fmean(values)
    return mean, sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - ddof))


def group(groups, epsilon=1e-6, ddof=1):
    """(r - mean) / (std + e) of each group."""
    found = []
    for rewards in groups:
        mean, deviation = mean_and_deviation(rewards, ddof)
        found.append([(r - mean) / (deviation + epsilon) for r in rewards])
    return found


def center(groups):
    """r - mean of each group."""
    return [[r - fmean(rewards) for r in rewards] for rewards in groups]


def loo(groups):
    """r - mean of the others, one sample left out at a time."""
    return [
        [r - fmean(rewards[:i] + rewards[i + 1 :]) for i, r in enumerate(rewards)]
        for rewards in groups
    ]


def batch(groups, epsilon=1e-4, ddof=1):
    """r - mean of the group, by the deviation of all rewards."""
    _, deviation = mean_and_deviation([r for rewards in groups for r in rewards], ddof)
    return [[c / (deviation + epsilon) for c in row] for row in center(groups)]


def whiten(groups, lengths, epsilon=1e-8, ddof=1):
    """Spell out every token, and whiten the list of them."""
    centred = center(groups)
    tokens = [
        c for row, counts in zip(centred, lengths, strict=True)
        for c, n in zip(row, counts, strict=True) for _ in range(n)
    ]  # fmt: skip
    mean, deviation = mean_and_deviation(tokens, ddof)
    return [[(c - mean) / sqrt(deviation**2 + epsilon) for c in row] for row in centred]


def gpg(groups):
    """B / (B - M) times r - mean."""
    total = sum(len(rewards) for rewards in groups)
    dead = sum(len(rewards) for rewards in groups if len(set(rewards)) == 1)
    return [[c * total / (total - dead) for c in row] for row in center(groups)]


def sas(visits, epsilon=1e-6, ddof=0):
    """DCPO's advantages of the last of the groups that one prompt was visited with."""
    i, now = len(visits), visits[-1]
    ever = [r for rewards in visits for r in rewards]
    found = []
    for r in now:
        new, total = (
            (r - mean) / (deviation + epsilon)
            for mean, deviation in (mean_and_deviation(v, ddof) for v in (now, ever))
        )
        mixed = ((i - 1) / i * new + total / i, new / i + (i - 1) / i * total)
        found.append(min(mixed, key=abs))
    return found

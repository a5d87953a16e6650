"""Every objective again, one token at a time, in plain Python: no torch and nothing of maspo.

Each function takes log π, log π_old and A of a token and returns (J, slope): the surrogate value and
dJ/dlog π in closed form. Slopes are written out by hand because finite differences would see through
stop-gradients.
"""

from math import cosh, exp


def ppo(l, l_old, a, epsilon_low=0.2, epsilon_high=0.2, cap=None):
    """min(ρA, clip(ρ)A), and the dual clip where `cap` is given."""
    ratio = exp(l - l_old)
    if a >= 0:
        return (
            (ratio * a, ratio * a) if ratio <= 1 + epsilon_high else ((1 + epsilon_high) * a, 0.0)
        )
    if ratio < 1 - epsilon_low:
        return (1 - epsilon_low) * a, 0.0
    if cap is not None and ratio > cap:
        return cap * a, 0.0
    return ratio * a, ratio * a


def maspo_width(
    l_old, a, sigma_base=1.0, alpha=0.3, beta_pos=0.03, beta_neg=0.03,
    sigma_high=10.0, adv_low=0.1, adv_high=10.0,
):  # fmt: skip
    """σ of the release; None switches a bound off."""
    sigma = sigma_base / exp(l_old) ** alpha
    if sigma_high is not None and sigma > sigma_high:
        sigma = sigma_high
    risk = 1 + beta_pos * a if a > 0 else 1 / (1 - beta_neg * a)
    if adv_low is not None and risk < adv_low:
        risk = adv_low
    if adv_high is not None and risk > adv_high:
        risk = adv_high
    return sigma * risk


def maspo(l, l_old, a, cap=None, shape="gaussian", **radius):
    """Detached Gaussian on the side that the advantage asks for; or a clip of the same radius."""
    ratio, width = exp(l - l_old), maspo_width(l_old, a, **radius)
    if a < 0 and cap is not None and ratio > cap:
        return cap * a, 0.0
    if a * (ratio - 1) <= 0:
        return ratio * a, ratio * a
    if shape == "hard":
        if abs(ratio - 1) <= width:
            return ratio * a, ratio * a
        return (1 + width if a > 0 else 1 - width) * a, 0.0
    gated = ratio * exp(-((ratio - 1) ** 2) / (2 * width**2)) * a
    return gated, gated


def sapo(l, l_old, a, tau_pos=1.0, tau_neg=1.05, two_sided=True):
    """(4/τ) sigmoid(τ(ρ-1)) A; its derivative is ρ sech²(τ(ρ-1)/2) A."""
    ratio, tau = exp(l - l_old), tau_pos if a > 0 else tau_neg
    if not two_sided and a * (ratio - 1) <= 0:
        return ratio * a, ratio * a
    value = 4 / tau / (1 + exp(-tau * (ratio - 1))) * a
    return value, ratio / cosh(tau * (ratio - 1) / 2) ** 2 * a


def sequence(token, log_probs, old_log_probs, advantage, **settings):
    """Apply a token rule to the mean log-probabilities of one sequence."""
    n = len(log_probs)
    return token(sum(log_probs) / n, sum(old_log_probs) / n, advantage, **settings)

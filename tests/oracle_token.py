"""The token-level objectives besides PPO, MASPO and SAPO, in plain Python like `oracle`.

Each function takes log π, log π_old and A of a token and returns (J, slope). Where the entropy matters,
`entropy` is that of the token and `entropies` lists those of its sequence.
"""

from math import atan, erf, exp, log, pi, sqrt

from oracle import ppo


def asked_for(ratio, a):
    """Whether the ratio has left 1 in the direction of the advantage."""
    return (a > 0 and ratio > 1) or (a < 0 and ratio < 1)


def dac(l, l_old, a, epsilon_low=0.16, epsilon_high=0.2, r_max=10.0, cap=10.0):
    """PPO's clip between the roots of |ρ - 1| ρ π_old = ε."""
    q = exp(l_old)
    low = (1 + sqrt(max(1 - 4 * epsilon_low / q, 0))) / 2
    high = min((1 + sqrt(1 + 4 * epsilon_high / q)) / 2, r_max)
    return ppo(l, l_old, a, 1 - low, high - 1, cap)


def entropy_advantage(
    l, l_old, a, entropy, entropies, alpha=0.4, kappa=2.0, epsilon_low=0.2, epsilon_high=0.28,
    cap=None,
):  # fmt: skip
    """PPO's clip with A + min(αH, |A|/κ)."""
    return ppo(l, l_old, a + min(alpha * entropy, abs(a) / kappa), epsilon_low, epsilon_high, cap)


def cispo(l, l_old, a, epsilon_low=None, epsilon_high=4.0):
    """log π weighted by the clipped ratio."""
    weight = min(exp(l - l_old), 1 + epsilon_high)
    if epsilon_low is not None and weight < 1 - epsilon_low:
        weight = 1 - epsilon_low
    return weight * a * l, weight * a


def ce_gppo(l, l_old, a, beta1=0.5, beta2=1.0, epsilon_low=0.2, epsilon_high=0.2, cap=10.0):
    """Clipped tokens keep a share of the bound as their weight."""
    weight = exp(l - l_old)
    if a < 0 and weight > cap:
        return cap * a, 0.0
    if a < 0 and weight < 1 - epsilon_low:
        weight = beta1 * (1 - epsilon_low)
    elif a > 0 and weight > 1 + epsilon_high:
        weight = beta2 * (1 + epsilon_high)
    return weight * a, weight * a


def dgpo(l, l_old, a, n=1.0, m=2.0, epsilon_low=0.2, epsilon_high=0.2):
    """Clipped tokens decay by a power."""
    ratio = weight = exp(l - l_old)
    if a < 0 and ratio < 1 - epsilon_low:
        weight = ratio ** (n + 1) / (1 - epsilon_low) ** n
    elif a > 0 and ratio > 1 + epsilon_high:
        weight = ratio ** (1 - 1 / m) * (1 + epsilon_high) ** (1 / m)
    return weight * a, weight * a


def aspo(
    l, l_old, a, entropy, entropies, epsilon_common=0.2, epsilon_rare=0.4, quantile=0.8,
    weight_cap=3.0,
):  # fmt: skip
    """The ratio turned over where A >= 0; beyond the cap the log-probability carries the gradient."""
    ratio = exp(l - l_old)
    # Between two ranks numpy's and torch's quantile lies between their values: the lower decides.
    common = entropy <= sorted(entropies)[int(quantile * (len(entropies) - 1))]
    epsilon = epsilon_common if common else epsilon_rare
    if a < 0 and ratio < 1 - epsilon:
        return (1 - epsilon) * a, 0.0
    if a >= 0 and ratio > 1 + epsilon:
        return a / (1 + epsilon), 0.0
    weight = ratio if a < 0 else 1 / ratio
    if weight_cap is not None and weight > weight_cap:
        return weight_cap * a * l, weight_cap * a
    return weight * a, weight * a


def dppo_tv(l, l_old, a, delta_low=0.15, delta_high=0.15, weight_cap=20.0):
    """log π weighted by the ratio, dropped where the probability moved too far as A asks."""
    move = exp(l) - exp(l_old)
    keep = move <= delta_high if a > 0 else move >= -delta_low
    weight = min(exp(l - l_old), weight_cap) if keep else 0.0
    return weight * a * l, weight * a


def dppo_kl(l, l_old, a, delta_low=0.05, delta_high=0.05, weight_cap=20.0):
    """log π weighted by the ratio, dropped where the binary KL is too large."""
    # A ratio drawn at random may give p > 1; a probability is at most 1.
    p, q = min(exp(l), 1.0), min(exp(l_old), 1.0)
    k = q * (l_old - l) + (1 - q) * log((1 - q + 1e-8) / (1 - p + 1e-8))
    left = k > delta_high and l > l_old if a > 0 else k > delta_low and l < l_old
    weight = 0.0 if left else min(exp(l - l_old), weight_cap)
    return weight * a * l, weight * a


def gpg(l, l_old, a):
    """The policy gradient."""
    return a * l, a


def dro(l, l_old, a, beta=0.05):
    """The policy gradient and a quadratic penalty on the log ratio."""
    return a * l - beta / 2 * (l - l_old) ** 2, a - beta * (l - l_old)


def smooth(value, gate):
    """Make the rule J = value(ρ - 1, τ) A, slope = ρ gate(ρ - 1, τ) A."""

    def rule(l, l_old, a, tau_pos=1.0, tau_neg=1.05, two_sided=True):
        ratio, tau = exp(l - l_old), tau_pos if a > 0 else tau_neg
        if not two_sided and not asked_for(ratio, a):
            return ratio * a, ratio * a
        return value(ratio - 1, tau) * a, ratio * gate(ratio - 1, tau) * a

    return rule


gate_erf = smooth(
    lambda x, tau: 1 + sqrt(pi) / (2 * tau) * erf(tau * x), lambda x, tau: exp(-((tau * x) ** 2))
)
gate_arctan = smooth(
    lambda x, tau: 1 + atan(tau * x) / tau, lambda x, tau: 1 / (1 + (tau * x) ** 2)
)
gate_softsign = smooth(
    lambda x, tau: 1 + x / (1 + tau * abs(x)), lambda x, tau: (1 + tau * abs(x)) ** -2
)


def ipo(l, l_old, a, epsilon=0.3, weight_cap=1e4):
    """The ratio of tokens whose probability stayed near, bounded."""
    weight = exp(l - l_old) if abs(exp(l) - exp(l_old)) <= epsilon else 0.0
    if weight_cap is not None and weight > weight_cap:
        weight = weight_cap
    return weight * a, weight * a


def icepop(l, l_old, a, low=0.2, high=5.0):
    """The ratio of tokens whose ratio stayed near."""
    ratio = exp(l - l_old)
    return (ratio * a, ratio * a) if low <= ratio <= high else (0.0, 0.0)


def drpo(l, l_old, a, epsilon=12.5):
    """The surrogate less a quadratic, differentiated by hand: dρ = ρ d log π."""
    p, q = exp(l), exp(l_old)
    value = p / q * a - abs(a) * (p - q) ** 2 / q / (2 * epsilon)
    slope = p / q * a - abs(a) * (p - q) * p / q / epsilon
    return value, slope

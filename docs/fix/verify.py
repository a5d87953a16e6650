"""Ask the verifier what it reads in a completion."""

from maspo.rewards.verifier import Verifier

if __name__ == "__main__":
    with Verifier(workers=1) as verifier:
        [verdict] = verifier.verify([r"so it is \boxed{\frac{1}{2}}"], ["0.5"])
    print(verdict.outcome, verdict.answer)

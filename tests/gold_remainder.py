"""Reference answers that the verifier does not accept from themselves, by (id, style), and why: none."""

REMAINDER: dict[tuple[str, str], str] = {}

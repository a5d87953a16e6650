"""Results of MASPO that others published: never measured here, never mixed with what is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maspo import files
from maspo.errors import unknown

_FILE = Path(__file__).parent / "published.json"


@dataclass(frozen=True, kw_only=True)
class Published:
    """The published rows of one model."""

    source: str
    by: str
    """Who published them: `by the authors` of MASPO, or in a study of others."""
    model: str
    k: int
    """Samples a problem: the rows are avg@k and pass@k."""
    rows: Mapping[str, Mapping[str, tuple[float, float]]]
    """By method, then by benchmark or `average`: avg@k and pass@k in percent. Of the 14B model
    only the averages over the six benchmarks are known."""


def published(size: str) -> Published:
    """Return the published rows for a model size; InputError for another.

    1.5b, 7b and 14b are the authors'; 4b and 8b are of GAR (arXiv:2609.03342), a comparison by others:
    its P@1 of 16 samples is avg@16, its P@16 pass@16. Its settings of MASPO were not found.
    """
    content = files.read_json(_FILE)
    if size.lower() not in content["models"]:
        raise unknown("published model size", size, content["models"])
    found = content["models"][size.lower()]
    rows = {
        method: {name: (cell[0], cell[1]) for name, cell in row.items()}
        for method, row in found["rows"].items()
    }
    return Published(rows=rows, **{name: found[name] for name in ("source", "by", "model", "k")})

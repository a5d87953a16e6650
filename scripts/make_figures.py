"""Draw the pictures that the README shows, into docs/."""

from pathlib import Path

from maspo.lab.run.plots import gate_figure

if __name__ == "__main__":
    docs = Path(__file__).parents[1] / "docs"
    docs.mkdir(exist_ok=True)
    gate_figure().savefig(docs / "gate.png", metadata={"Software": None})

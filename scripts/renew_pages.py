"""Make the parts of the manual's pages anew that are not written by hand.

    python scripts/renew_pages.py

They stand between `<!-- made: NAME -->` or `<!-- file: PATH -->` and `<!-- end -->`: tables of recorded
measurements and of the code, and files that are shown.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
sys.path.insert(0, str(DOCS))  # where MkDocs finds them too

from generate import filled  # noqa: E402


def main() -> None:
    """Write the pages whose parts have changed, and name them."""
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text("utf-8")
        if (new := filled(text)) != text:
            page.write_text(new, "utf-8")
            print(page.relative_to(DOCS))


if __name__ == "__main__":
    main()

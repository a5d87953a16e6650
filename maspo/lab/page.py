"""A page that is one file: style and script inside, no network, no script but its own."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from maspo import files
from maspo.lab.style import palette_css

TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: str, script: str = "report.js", **values: Any) -> str:
    """Render a template; `values` are escaped, `style`, `script` and `script_hash` are added."""
    source = (TEMPLATES / script).read_text("utf-8")
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    environment.filters["breakable"] = breakable
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template(template).render(
        style=Markup(palette_css() + (TEMPLATES / "report.css").read_text("utf-8")),
        script=Markup(source),
        # Only this one script may run, whatever a model wrote.
        script_hash=base64.b64encode(hashlib.sha256(source.encode()).digest()).decode(),
        **values,
    )


def breakable(name: str) -> Markup:
    """Let a long name such as `maspo:sigma_base=0.3,alpha=0` be broken behind its marks."""
    return Markup(re.sub(r"([:,_/])", r"\1<wbr>", str(escape(name))))


def write_page(path: Path, text: str) -> Path:
    """Write a page whole and return its path."""
    # Model output may hold lone surrogates, which UTF-8 cannot carry.
    files.write_bytes(path, text.encode("utf-8", errors="replace"))
    return path

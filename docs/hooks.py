"""What the site reads from the code when it is built, and every page as Markdown beside its HTML.

The pages and parts themselves are made in `generate/`; this file knows MkDocs, and that does not.
"""

from __future__ import annotations

import importlib
import inspect
import posixpath
import re
from pathlib import Path

from generate import ROOT, pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

OUTSIDE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files of the repository that are pages of the site, by the page's place."""

_written: dict[str, tuple[str, str]] = {}
"""Title and Markdown of every page that was rendered, by its place."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages of the objectives in the navigation."""
    from maspo.objectives import BUILT_IN

    _written.clear()
    for part in config.nav or []:
        for entry in part.get("Reference") or [] if isinstance(part, dict) else []:
            if "Objectives" in entry:
                made = [{name: f"reference/objectives/{name}.md"} for name in BUILT_IN]
                entry["Objectives"] = ["reference/objectives/index.md", *made]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of the code, and those of the repository's root."""
    for name, place in OUTSIDE.items():
        content = (ROOT / name).read_text("utf-8").replace("](docs/", "](")
        files.append(File.generated(config, place, content=content))
    for place, made in pages():
        files.append(File.generated(config, place, content=made))
    for file in files.documentation_pages():
        file.inclusion = InclusionLevel.INCLUDED
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the root lead to their pages, and keep the Markdown that goes beside the page."""
    here = posixpath.dirname(page.file.src_uri)
    for name, place in {**OUTSIDE, "README.md": "index.md"}.items():
        up, target = (
            posixpath.relpath(f"../{name}", here or "."),
            posixpath.relpath(place, here or "."),
        )
        markdown = re.sub(rf"\]\({re.escape(up)}(?=[)#])", f"]({target}", markdown)
    _written[page.file.src_uri] = (str(page.title), markdown)
    return markdown


def on_post_build(config: MkDocsConfig) -> None:
    """Write each page's Markdown beside its HTML, and llms.txt, which lists them."""
    site = Path(config.site_dir)
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    for place, (title, text) in sorted(_written.items()):
        target = site / place.replace("README.md", "index.md")
        target.parent.mkdir(parents=True, exist_ok=True)
        text = re.sub(r"^::: (\S+)$", lambda found: _documented(found[1]), text, flags=re.MULTILINE)
        target.write_text(re.sub(r"(\]\([^)\s]*)README\.md", r"\1index.md", text), "utf-8")
        lines.append(f"- [{title}]({target.relative_to(site).as_posix()})")
    (site / "llms.txt").write_text("\n".join(lines) + "\n", "utf-8")


def _documented(path: str) -> str:
    """Return a public name with signature and docstring, as the Markdown of the API has it."""
    home, _, name = path.rpartition(".")
    value = getattr(importlib.import_module(home), name)
    if not callable(value):
        return f"## {name}"
    error = isinstance(value, type) and issubclass(value, Exception)
    signature = "" if error else f"```python\n{name}{inspect.signature(value)}\n```\n\n"
    return f"## {name}\n\n{signature}{inspect.getdoc(value) or ''}"

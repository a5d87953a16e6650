"""The one palette, for pictures and pages, and the look that all pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The first five and pink and amber are Okabe and Ito's, which people with any common colour
# blindness can tell apart.
_PALETTE = {
    "gray": ("#6E6E6E", "#9A9B95"),
    "blue": ("#0072B2", "#4FB3EE"),
    "orange": ("#D55E00", "#FF8B3D"),
    "green": ("#009E73", "#2FC79B"),
    "pink": ("#CC79A7", "#E39BC4"),
    "sky": ("#56B4E9", "#A5DCFF"),
    "amber": ("#E69F00", "#F2BB3F"),
    "violet": ("#6A4C93", "#B69AE0"),
    "brown": ("#8C564B", "#C99386"),
    "teal": ("#17868F", "#4CC4CE"),
    "lime": ("#788A12", "#C3D453"),
}

COLORS = {name: light for name, (light, _) in _PALETTE.items()}
"""The colours on white, by name, in the order in which curves take them."""

INK = "#333333"
AXIS = "#999999"
GRID = "#E6E6E6"


def palette_css() -> str:
    """Write the palette as custom properties of CSS, `--blue` and so on, for light and dark pages."""
    light, dark = (
        " ".join(f"--{name}: {pair[side].lower()};" for name, pair in _PALETTE.items())
        for side in (0, 1)
    )
    return (
        f":root {{ {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    )  # fmt: skip


def style_axes(axes: Axes) -> None:
    """Give axes the look that all pictures share."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(AXIS)
    axes.tick_params(colors=INK, length=3)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)

"""How every picture is drawn: one style, one fact each, said in the title.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which stay apart under the
common colour vision deficiencies. Matplotlib is loaded when the first picture is drawn, without
pyplot: no window, no state.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, GREY, LIGHT = "#56B4E9", "#CC79A7", "#F0E442", "#8A8A8A", "#D4D4D4"
INK = "#333333"

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#E6E6E6",
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
_DPI = 100
_TITLE_CHARS = 86  # on one line of that width
_WIDTH_IN = 6.6  # at a laptop's width, about what the orchestrator leaves for a value


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture and the fact that it shows."""

    title: str
    png: bytes

    @property
    def base64(self) -> str:
        """The picture as text, for a data URI that needs no file and no server."""
        return base64.b64encode(self.png).decode()

    @property
    def markdown(self) -> str:
        """The picture inline."""
        return f"![{self.title}](data:image/png;base64,{self.base64})"


def read_plot(png: bytes) -> Plot:
    """Return the plot of a picture that ``png_of`` made; its title is kept in the file."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        return Plot(str(picture.info.get("Title", "")), png)


def label_counts(axes: "Axes") -> None:
    """Label the vertical axis with whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")


@contextmanager
def drawn_figure(
    title: str, *, panels: int = 1, rows: int = 1, height_in: float = 3.0
) -> "Iterator[tuple[Figure, Sequence[Axes]]]":
    """Yield an empty figure and its panels, row by row, in the style of this module."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=_DPI, layout="constrained")
        axes = figure.subplots(rows, -(-panels // rows), squeeze=False).ravel()
        said = fill(title, _TITLE_CHARS)
        figure.suptitle(said, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        for spare in axes[panels:]:
            spare.set_visible(False)
        yield figure, list(axes[:panels])


def png_of(figure: "Figure") -> bytes:
    """Return the picture in 64 colours: events that carry it stay small, and it has no more."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    small = io.BytesIO()
    said = PngInfo()
    said.add_text("Title", figure.get_suptitle().replace("\n", " "))
    with Image.open(drawn) as picture:
        plain = picture.convert("RGB").quantize(64)
        plain.save(small, format="png", optimize=True, pnginfo=said)
    return small.getvalue()

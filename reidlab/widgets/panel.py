"""Controls above one picture: a pure function of their values draws it."""
import base64
import io
from collections.abc import Callable
from typing import Any

import ipywidgets
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

_OPEN: dict = {}  # callbacks live as long as their panel stands here


def claim(name: str, panel) -> None:
    """Make `panel` the only open one of this name; an earlier one is closed."""
    previous = _OPEN.pop(name, None)
    if previous is not None:
        previous.close()
    _OPEN[name] = panel


class Panel:
    """A named panel; opening another of the same name closes it.

    Widget traits survive a page reload, printed output does not: the picture is a trait, and
    nothing is printed.

    Args:
        name: of the panel; a cell that is run again replaces its own.
        view: control values → Figure, or PNG bytes; it must not touch anything else.
        controls: argument of `view` → ipywidgets control with a ``value``.
    """

    def __init__(self, name: str, view: Callable, /, **controls: ipywidgets.Widget):
        claim(name, self)
        self.name, self.controls = name, controls
        self.view: Any = view  # None once the panel is closed
        self.image = ipywidgets.Image(format="png")
        self.fault = ipywidgets.HTML()
        self.box = ipywidgets.VBox([ipywidgets.HBox(list(controls.values()),
                                                    layout={"flex_flow": "row wrap"}),
                                    self.image, self.fault])
        for control in controls.values():
            control.observe(self._changed, names="value")
        self.draw()

    @property
    def values(self) -> dict:
        """What the controls say now."""
        return {name: control.value for name, control in self.controls.items()}

    def draw(self) -> None:
        """Draw the picture again; what went wrong is shown under it."""
        try:
            self.image.value = png(self.view(**self.values))
            self.fault.value = ""
        except ValueError as fault:
            self.fault.value = f"<span style='color:#b3261e'>{fault}</span>"

    def show(self) -> None:
        """Display the panel in the running cell."""
        shown(self.box, self.image.value)

    def close(self) -> None:
        """Take the panel off every page and let its callbacks go."""
        for control in self.controls.values():
            control.unobserve_all()
            control.close()
        for part in (self.image, self.fault, self.box):
            part.close()
        self.view = None

    def _changed(self, change) -> None:
        self.draw()


def png(drawn) -> bytes:
    """PNG bytes of a figure; bytes pass through."""
    if isinstance(drawn, Figure):
        out = io.BytesIO()
        drawn.savefig(out, format="png")
        return out.getvalue()
    return drawn


def shown(box: ipywidgets.Widget, picture: bytes) -> None:
    """Display a box in the running cell; a page that runs no widgets shows `picture` (PNG)."""
    still = {"image/png": base64.b64encode(picture).decode()} if picture else {}
    display(box._repr_mimebundle_() | still, raw=True)


def encoded(picture: Image.Image) -> bytes:
    """PNG bytes of a picture."""
    out = io.BytesIO()
    picture.save(out, format="png")
    return out.getvalue()


def stack(*pictures: bytes) -> bytes:
    """PNGs one under the other, on white."""
    opened = [Image.open(io.BytesIO(p)).convert("RGB") for p in pictures]
    whole = Image.new("RGB", (max(p.width for p in opened), sum(p.height for p in opened)),
                        "white")
    top = 0
    for picture in opened:
        whole.paste(picture, (0, top))
        top += picture.height
    return encoded(whole)

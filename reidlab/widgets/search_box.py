"""The search box: type a description, see the ranking, click a hit to see where it comes from."""
from typing import Any

import ipywidgets
from PIL import Image

from reidlab.engine.search import Hit, Searcher
from reidlab.errors import ReidlabError
from reidlab.plots.attention import shared_out
from reidlab.plots.people import ranked
from reidlab.widgets.panel import claim, encoded, png, shown, stack


class SearchBox:
    """A text field over a row of hits; under it, word by word and patch by patch, why.

    Args:
        searcher: a gallery that was embedded once.
        text: the first description.
        k: hits shown.
    """

    def __init__(self, searcher: Searcher, text: str, k: int = 8):
        claim("search box", self)
        self.searcher: Any = searcher  # None once the box is closed
        self.k = k
        self.hits: list[Hit] = []
        self.text = ipywidgets.Text(value=text, description="who?", continuous_update=False,
                                    layout={"width": "42em"})
        self.weight = ipywidgets.FloatSlider(
            value=searcher.cloth_weight, min=0, max=2, step=0.1, description="λ clothes",
            continuous_update=False)
        self.pictures = [ipywidgets.Image(format="png", width=72) for _ in range(k)]
        self.buttons = [ipywidgets.Button(layout={"width": "76px"}) for _ in range(k)]
        self.why, self.fault = ipywidgets.Image(format="png"), ipywidgets.HTML()
        for button in self.buttons:
            button.on_click(self._clicked)
        for asked in (self.text, self.weight):
            asked.observe(self._changed, names="value")
        row = ipywidgets.HBox([ipywidgets.VBox(pair) for pair in
                               zip(self.pictures, self.buttons, strict=True)],
                              layout={"flex_flow": "row wrap"})
        self.box = ipywidgets.VBox([ipywidgets.HBox([self.text, self.weight],
                                                    layout={"flex_flow": "row wrap"}),
                                    row, self.why, self.fault])
        self.ask()

    def ask(self) -> None:
        """Rank the gallery by what is typed."""
        try:
            self.hits = self.searcher.find(self.text.value, self.k, self.weight.value)
        except ReidlabError as fault:
            self.fault.value = f"<span style='color:#b3261e'>{fault}</span>"
            return
        self.fault.value = ""
        for place, hit in enumerate(self.hits):
            self.pictures[place].value = encoded(Image.fromarray(hit.image))
            self.buttons[place].description = f"{place + 1}: {hit.score:.2f}"
        self.explain(0)

    def explain(self, place: int) -> None:
        """Show where the score of one hit comes from."""
        for k, button in enumerate(self.buttons):
            button.button_style = "primary" if k == place else ""
        self.why.value = png(self._explained(place))

    def still(self) -> bytes:
        """Ranking and reasons as one picture (PNG), for a page that runs no widgets."""
        row = png(ranked([{"text": self.text.value, "hits": [
            (h.image, h.score, None) for h in self.hits]}], columns=self.k))
        return stack(row, png(self._explained(0)))

    def show(self) -> None:
        """Display the box in the running cell."""
        shown(self.box, self.still() if self.hits else b"")

    def close(self) -> None:
        """Take the box off every page and let the gallery go."""
        for button in self.buttons:
            button.on_click(self._clicked, remove=True)
        for asked in (self.text, self.weight):
            asked.unobserve_all()
        for part in (self.text, self.weight, *self.pictures, *self.buttons, self.why, self.fault,
                     self.box):
            part.close()
        self.searcher, self.hits = None, []

    def _clicked(self, button) -> None:
        self.explain(self.buttons.index(button))

    def _changed(self, change) -> None:
        self.ask()

    def _explained(self, place: int):
        hit = self.hits[place]
        title = (f"hit {place + 1}, {hit.path}: identity {hit.id_score:+.2f}, clothing "
                 f"{hit.cloth_score:+.2f} (λ = {self.weight.value:.1f})")
        return shared_out(hit.image, self.searcher.explain(hit, self.text.value), title)


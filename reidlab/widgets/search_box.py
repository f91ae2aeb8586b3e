"""The search box: type a description, show a photo, or both; click a hit to see where it comes
from, or to ask with it."""
import html
import tempfile
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
from PIL import Image

from reidlab.data.pictures import open_picture
from reidlab.engine.search import PHOTO_GIVES, Hit, Searcher
from reidlab.errors import ReidlabError
from reidlab.plots.attention import shared_out
from reidlab.plots.people import ranked
from reidlab.widgets.panel import claim, encoded, png, shown, stack


class SearchBox:
    """A text field and a photo over a row of hits; under it, word by word and patch by patch, why.

    Args:
        searcher: a gallery that was embedded once.
        text: the first description.
        k: hits shown, where the gallery has as many.
    """

    def __init__(self, searcher: Searcher, text: str, k: int = 8):
        claim("search box", self)
        self.searcher: Any = searcher  # None once the box is closed
        self.k = k = min(k, len(searcher.paths))
        self.hits: list[Hit] = []
        self.asked_photo: np.ndarray | None = None
        self.place = 0  # of the hit that is looked at
        self.said: tuple[str, str | None] = ("", None)  # words of the hits, and what a photo gave
        self.text = ipywidgets.Text(value=text, description="who?", continuous_update=False,
                                    layout={"width": "42em"})
        self.weight = ipywidgets.FloatSlider(
            value=searcher.cloth_weight, min=0, max=2, step=0.1, description="λ clothes",
            continuous_update=False)
        self.upload = ipywidgets.FileUpload(accept="image/*", description="a photo",
                                            layout={"width": "9em"})
        self.by = ipywidgets.Dropdown(options=list(PHOTO_GIVES), value="identity",
                                      description="it gives", layout={"width": "14em"})
        self.this = ipywidgets.Button(description="ask with this hit", layout={"width": "12em"})
        self.without = ipywidgets.Button(description="no photo", layout={"width": "7em"})
        self.photo = ipywidgets.Image(format="png", width=36)
        self.pictures = [ipywidgets.Image(format="png", width=72) for _ in range(k)]
        self.buttons = [ipywidgets.Button(layout={"width": "76px"}) for _ in range(k)]
        self.why, self.fault = ipywidgets.Image(format="png"), ipywidgets.HTML()
        self._listen()
        row = ipywidgets.HBox([ipywidgets.VBox(pair) for pair in
                               zip(self.pictures, self.buttons, strict=True)],
                              layout={"flex_flow": "row wrap"})
        lines = [ipywidgets.HBox(line, layout={"flex_flow": "row wrap"}) for line in (
            [self.text, self.weight],
            [self.upload, self.this, self.without, self.by, self.photo])]
        self.box = ipywidgets.VBox([*lines, row, self.why, self.fault])
        self.ask()

    def _listen(self) -> None:
        for button in self.buttons:
            button.on_click(self._clicked)
        self.this.on_click(self._ask_with_this)
        self.without.on_click(self._ask_without)
        self.upload.observe(self._uploaded, names="value")
        for asked in (self.text, self.weight, self.by):
            asked.observe(self._changed, names="value")

    def ask(self) -> None:
        """Rank the gallery by what is typed and shown."""
        by = None if self.asked_photo is None else self.by.value
        try:
            self.hits = self.searcher.find(self.text.value, self.k, self.weight.value,
                                           self.asked_photo, by)
        except ReidlabError as fault:
            self._refused(fault)
            return
        self.fault.value, self.said = "", (self.text.value, by)
        self.photo.value = b"" if self.asked_photo is None else encoded(
            Image.fromarray(self.asked_photo))
        for place, hit in enumerate(self.hits):
            self.pictures[place].value = encoded(Image.fromarray(hit.image))
            self.buttons[place].description = f"{place + 1}: {hit.score:.2f}"
        self.explain(0)

    def explain(self, place: int) -> None:
        """Show where the score of one hit comes from: of words, what each word and patch adds."""
        self.place = place
        for k, button in enumerate(self.buttons):
            button.button_style = "primary" if k == place else ""
        picture = self._explained(place)
        self.why.value = b"" if picture is None else png(picture)

    def ask_with(self, photo: np.ndarray | None) -> None:
        """Take a picture as the query's photo, (H, W, 3) uint8 as the model sees it, or none."""
        self.asked_photo = photo
        self.ask()

    def still(self) -> bytes:
        """Ranking and reasons as one picture (PNG), for a page that runs no widgets."""
        words, by = self.said
        row = png(ranked([{"text": words or f"a photo, by {by}", "hits": [
            (h.image, h.score, None) for h in self.hits]}], columns=self.k))
        why = self._explained(0)
        return row if why is None else stack(row, png(why))

    def show(self) -> None:
        """Display the box in the running cell."""
        shown(self.box, self.still() if self.hits else b"")

    def close(self) -> None:
        """Take the box off every page and let the gallery go."""
        for button in self.buttons:
            button.on_click(self._clicked, remove=True)
        self.this.on_click(self._ask_with_this, remove=True)
        self.without.on_click(self._ask_without, remove=True)
        for asked in (self.text, self.weight, self.by, self.upload):
            asked.unobserve_all()
        for part in (self.text, self.weight, self.upload, self.by, self.this, self.without,
                     self.photo, *self.pictures, *self.buttons, self.why, self.fault, self.box):
            part.close()
        self.searcher, self.hits, self.asked_photo = None, [], None

    def _clicked(self, button) -> None:
        self.explain(self.buttons.index(button))

    def _changed(self, change) -> None:
        self.ask()

    def _ask_with_this(self, button) -> None:
        if self.hits:
            self.ask_with(self.hits[self.place].image)

    def _ask_without(self, button) -> None:
        self.ask_with(None)

    def _uploaded(self, change) -> None:
        """A file of the reader's, looked at as every picture file is."""
        for held in self.upload.value[:1]:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "photo"
                file.write_bytes(bytes(held["content"]))
                try:
                    photo = open_picture(file, self.searcher.size)
                except ReidlabError as fault:
                    self._refused(ReidlabError(str(fault).replace(str(file), held["name"])))
                    return
            self.ask_with(photo)

    def _refused(self, fault: ReidlabError) -> None:
        self.fault.value = f"<span style='color:#b3261e'>{html.escape(str(fault))}</span>"

    def _explained(self, place: int):
        """What words add to the score of a hit; None where a photo gives both of its parts."""
        hit = self.hits[place]
        words, by = self.said
        said = self.searcher.explain(hit, words) if words.strip() else {}
        given = () if by is None else PHOTO_GIVES[by]
        said = {side: found for side, found in said.items()
                if {"cloth": "clothing"}.get(side, side) not in given}
        if not said:
            return None
        title = (f"hit {place + 1}, {hit.path}: identity {hit.id_score:+.2f}, clothing "
                 f"{hit.cloth_score:+.2f} (λ = {self.weight.value:.1f})")
        return shared_out(hit.image, said, title)

"""The swap-the-clothes viewer: two pictures, and how alike each vector finds them."""
import ipywidgets
import numpy as np
import torch

from reidlab.data.packing import to_tensor
from reidlab.plots.people import contact_sheet
from reidlab.synthetic.world import World
from reidlab.widgets.panel import Panel


def swap_viewer(model, world: World, people: tuple[int, int] = (1510, 1521),
                outfits: tuple[int, int] = (1600, 1601)) -> Panel:
    """A panel that dresses two people (or one twice) and compares them by both vectors.

    Args:
        model: a trained `TextImageModel`.
        world: of the model's picture size.
        people, outfits: to start from; the sliders reach fifty further.
    """
    def slider(name, value, least):
        return ipywidgets.IntSlider(value=value, min=least, max=least + 50, description=name,
                                    continuous_update=False)

    def view(person, other_person, outfit, other_outfit):
        pictures = [world.draw(person, outfit, 0).image,
                    world.draw(other_person, other_outfit, 1).image]
        with torch.inference_mode():
            vectors = model.embed(model.image_features(to_tensor(np.stack(pictures)))[0])
        alike = ", ".join(f"{side} {(v[0] @ v[1]).item():+.2f}" for side, v in
                          zip(("identity", "clothing"), vectors, strict=True))
        sheet = contact_sheet([pictures], height=3.0, titles=[
            f"person {person}", f"person {other_person}"])
        sheet.suptitle(f"cosine: {alike}", fontsize=9)
        return sheet
    return Panel("swap", view, person=slider("person", people[0], min(people)),
                 other_person=slider("other person", people[0], min(people)),
                 outfit=slider("outfit", outfits[0], min(outfits)),
                 other_outfit=slider("other outfit", outfits[1], min(outfits)))

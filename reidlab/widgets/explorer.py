"""The people explorer: turn the factors of a synthetic person, see picture, parts and captions."""
from functools import lru_cache

import ipywidgets

from reidlab.plots.people import portrait
from reidlab.synthetic.factors import BEARDS, HAIR_STYLES, OUTFIT, PERSON, SCENE
from reidlab.synthetic.world import World
from reidlab.widgets.panel import Panel, png

FACTORS = {  # control → values; every other factor stays as the numbers have it
    **{f"person/{name}": PERSON[name][0] for name in (
        "sex", "build", "height", "skin", "hair_colour", "glasses")},
    "person/hair_style": HAIR_STYLES, "person/beard": BEARDS,
    **{f"outfit/{name}": OUTFIT[name][0] for name in (
        "upper_type", "upper_colour", "upper_pattern", "lower_type", "lower_colour", "bag_type",
        "hat_type")},
    **{f"scene/{name}": SCENE[name][0] for name in ("background", "light", "occluder")},
}
AS_SAMPLED = "as sampled"


def people_explorer(seed: int = 0, size: tuple[int, int] = (224, 112), person: int = 3,
                    outfit: int = 7, shot: int = 0) -> Panel:
    """A panel with a control for each factor; “as sampled” leaves a factor to the world's seed.

    Args:
        seed, size: of the `World`.
        person, outfit, shot: to start from.
    """
    world = World(seed, size)

    @lru_cache(maxsize=64)
    def picture(values: tuple) -> bytes:
        chosen = dict(values)
        who, worn, taken = (chosen.pop(name) for name in ("person", "outfit", "shot"))
        yaw = chosen.pop("yaw")
        changes = {name.replace("__", "/"): value for name, value in chosen.items()
                   if value != AS_SAMPLED}
        if yaw >= 0:
            changes["scene/yaw"] = float(yaw)
        return png(portrait(world.draw_changed(who, worn, taken, changes)))

    def slider(name, value, least, most, step=1):
        return ipywidgets.IntSlider(value=value, min=least, max=most, step=step, description=name,
                                    continuous_update=False)
    controls = {"person": slider("person", person, 0, 99),
                "outfit": slider("outfit", outfit, 0, 99), "shot": slider("shot", shot, 0, 20),
                "yaw": slider("yaw °", -15, -15, 345, 15)}
    controls |= {name.replace("/", "__"): ipywidgets.Dropdown(
        options=[AS_SAMPLED, *values], value=AS_SAMPLED,
        description=name.partition("/")[2].replace("_", " ")) for name, values in FACTORS.items()}
    return Panel("people explorer", lambda **values: picture(tuple(values.items())), **controls)

"""Every field that ``--set`` changes, with nonsense in it."""
from functools import lru_cache
from random import Random

from reidlab.config import flatten
from reidlab.presets import PRESETS, preset
from tests.campaign.cases import Case
from tests.campaign.running import Place
from tests.campaign.world import INFRARED, TEXT, World, train

NUMBERS = ("-1", "0", "1", "2", "-0.5", "0.5", "nan", "inf", "-inf", "1e9", "1e30", "1e-30",
           "-1e30", "1000000000000", "-1000000000000", "", "none", "text", "²", "1_0", "9" * 5000,
           "0x10", "true", "[1]", "3.0", "1e400", "7", " 4 ")
WORDS = ("", " ", "none", "text", "../..", "/", "a,b", "👤", "x" * 5000, "a\nb", "$x_$", "0",
         "True", "[]", "\udcff")
CLAIMS = ("", "2", "yes", "none", "nan", "tRUE", "0", "text")
HUGE = ("1e9", "1e30", "1000000000000")
NO_NUMBERS = ("nan", "inf", "-inf", "", "text", "[1]", "1e400", "9" * 5000)
LONG = {"training.epochs": HUGE, "training.batches_per_epoch": HUGE, "scoring.trials": HUGE,
        "training.compile": ("tRUE",)}  # sound, and only longer than a case may take
OTHERS = {TEXT: ("attention", "projection", "merged", "residual"),
          INFRARED: ("deen", "embednet", "embednet_tmhee", "embednet_cmatm", "embednet_ssdec")}


@lru_cache
def _fields() -> list[tuple[str, str, object]]:
    """(design of the task, field, its value), mixed; cases go through them in turn."""
    known = [(design, name, value) for design in (TEXT, INFRARED)
             for name, value in flatten(preset(design)).items()]
    Random(0).shuffle(known)
    return known


def fields(random: Random, world: World, place: Place, count: int) -> Case:
    """One field of one design, out of bounds."""
    known = _fields()
    task, name, value = known[count % len(known)]
    design = random.choice((task, task, random.choice(OTHERS[task])))
    world.lend_cache(place)
    values = CLAIMS if isinstance(value, bool) else WORDS if isinstance(value, str) else NUMBERS
    odd = random.choice([v for v in values if v not in LONG.get(name, ())])
    number = isinstance(value, int | float) and not isinstance(value, bool)
    forbidden = "no number was taken for one" if number and odd in NO_NUMBERS else ""
    return Case(f"{design}: {name}={odd:.40}", [train(design, changes={name: odd})],
                forbidden, correct=train(design))


assert set(OTHERS[TEXT] + OTHERS[INFRARED]) < set(PRESETS)

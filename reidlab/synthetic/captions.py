"""What an onlooker says of a synthetic picture: one caption of the person, one of the outfit.

Wording varies (synonyms, order, sentence shape) and things go unsaid; what a caption does say
is returned beside it as facts. An id caption holds no clothing word, a cloth caption no word
about the person, so that neither text can leak the other factor.
"""
from dataclasses import dataclass

import numpy as np

COLOUR_WORDS = {
    "black": ("black", "jet black"), "white": ("white", "plain white", "ivory"),
    "grey": ("grey", "gray", "ash grey"), "navy": ("navy", "navy blue", "dark blue"),
    "blue": ("blue", "bright blue", "azure"), "red": ("red", "bright red", "scarlet"),
    "green": ("green", "leaf green", "emerald"), "yellow": ("yellow", "lemon yellow", "golden"),
    "orange": ("orange", "tangerine"), "purple": ("purple", "violet"),
    "pink": ("pink", "rose", "light pink"), "brown": ("brown", "chestnut brown", "chocolate"),
}
HAIR_COLOUR_WORDS = {
    "black": ("black", "raven"), "brown": ("brown", "brunette", "chestnut"),
    "blond": ("blond", "blonde", "fair"), "red": ("red", "ginger", "auburn"),
    "grey": ("grey", "gray", "greying"), "white": ("white", "snow white"),
}
SEX_WORDS = {"man": ("man", "male", "gentleman", "guy", "male pedestrian", "fellow"),
             "woman": ("woman", "female", "lady", "female pedestrian")}
PRONOUN = {"man": ("he", "his"), "woman": ("she", "her")}
ANYONE = ("person", "pedestrian", "passer-by", "individual", "somebody", "figure")
BUILD_WORDS = {"slim": ("slim", "thin", "slender", "lean", "skinny"),
               "average": ("average-sized", "medium-built", "normal-sized"),
               "heavy": ("heavy", "stout", "broad", "stocky", "plump", "heavily built")}
HEIGHT_WORDS = {"short": ("short", "small", "rather short", "not very tall"),
                "average": ("of medium height", "of average height", "middle-sized"),
                "tall": ("tall", "very tall", "lanky", "of large stature")}
SKIN_WORDS = {"pale": ("pale skin", "a pale complexion", "very light skin"),
              "fair": ("light skin", "a fair complexion", "rosy skin"),
              "tan": ("tanned skin", "an olive complexion", "a tan"),
              "brown": ("brown skin", "a brown complexion"),
              "dark": ("dark skin", "a dark complexion", "deep brown skin")}
HAIR_STYLE_WORDS = {
    "short": ("short {} hair", "closely cropped {} hair", "{} hair cut short", "trimmed {} hair"),
    "curly": ("curly {} hair", "{} curls", "frizzy {} hair", "a mop of {} curls"),
    "bob": ("chin-length {} hair", "{} hair in a bob", "a {} bob"),
    "long": ("long {} hair", "{} hair down the back", "long flowing {} hair",
             "{} hair past the shoulders"),
    "ponytail": ("{} hair in a ponytail", "a {} ponytail", "{} hair tied back"),
    "bun": ("{} hair in a bun", "a {} bun", "{} hair pinned up"),
    "bald": ("a bald head", "no hair", "a shaved head", "a bare scalp"),
}
GLASSES_WORDS = {"glasses": ("glasses", "spectacles", "eyeglasses", "a pair of clear lenses"),
                 "sunglasses": ("sunglasses", "dark glasses", "shades", "tinted lenses")}
BEARD_WORDS = {"beard": ("a full beard", "a beard", "a bearded chin", "facial hair"),
               "moustache": ("a moustache", "a mustache")}
GAIT_WORDS = {"relaxed": ("strolling along", "walking at an easy pace", "ambling"),
              "brisk": ("striding quickly", "walking briskly", "hurrying with long steps"),
              "heavy": ("shuffling", "walking with short heavy steps", "trudging slowly")}
UPPER_WORDS = {
    "t-shirt": ("t-shirt", "tee", "short-sleeved top", "short sleeve t-shirt"),
    "shirt": ("shirt", "button-up shirt", "buttoned shirt", "collared shirt", "blouse"),
    "sweater": ("sweater", "jumper", "pullover", "knitted sweater"),
    "hoodie": ("hoodie", "hooded sweatshirt", "hooded top", "sweatshirt with a hood"),
    "jacket": ("jacket", "zip-up jacket", "short jacket", "blouson"),
    "coat": ("coat", "long coat", "overcoat", "knee-length coat"),
}
PATTERN_WORDS = {  # before the garment, or after it
    "horizontal stripes": (("horizontally striped", "hooped"), ("with horizontal stripes",
                           "with {}stripes running across", "with {}bands across")),
    "vertical stripes": (("vertically striped", "pinstriped"), ("with vertical stripes",
                         "with {}stripes running down")),
    "checks": (("checked", "checkered", "plaid"), ("with a {}check pattern", "in {}tartan")),
    "dots": (("polka-dot", "dotted", "spotted"), ("with {}dots", "with small {}spots")),
    "print": (("printed",), ("with a {}print on the chest", "with a round {}logo on the front",
              "with a {}emblem")),
}
LOWER_WORDS = {"jeans": ("jeans", "denim jeans", "denims"),
               "trousers": ("trousers", "pants", "slacks", "straight-cut trousers"),
               "shorts": ("shorts", "knee-length shorts", "short pants"),
               "skirt": ("skirt", "flared skirt", "knee-length skirt")}
SHOES_WORDS = {"sneakers": ("sneakers", "trainers", "running shoes", "sports shoes"),
               "boots": ("boots", "high boots", "ankle boots"),
               "shoes": ("shoes", "flat shoes", "loafers", "leather shoes")}
BAG_WORDS = {"backpack": ("backpack", "rucksack", "school bag on the back", "knapsack"),
             "shoulder bag": ("shoulder bag", "cross-body bag", "messenger bag", "satchel"),
             "handbag": ("handbag", "hand bag", "small bag in one hand", "purse")}
HAT_WORDS = {"cap": ("cap", "baseball cap", "peaked cap"),
             "beanie": ("beanie", "woolly hat", "knit cap"),
             "sun hat": ("sun hat", "wide-brimmed hat", "straw hat", "brimmed hat")}


@dataclass(frozen=True)
class Description:
    """Two captions and the factors that each one states."""

    id_caption: str
    cloth_caption: str
    id_facts: dict
    cloth_facts: dict


class _Teller:
    """Chooses words and remembers which facts were told."""

    def __init__(self, rng: np.random.Generator, prefix: str):
        self._draws = iter(rng.random(64).tolist())
        self.prefix = prefix
        self.facts: dict[str, str] = {}

    def chance(self, p: float) -> bool:
        return next(self._draws) < p

    def word(self, words: tuple[str, ...]) -> str:
        return words[int(next(self._draws) * len(words))]

    def tell(self, p: float, factor: str, value: str, words: dict) -> str:
        """A word for the fact with probability `p`, else an empty string."""
        word = self.word(words[value])
        if not self.chance(p):
            return ""
        self.facts[f"{self.prefix}/{factor}"] = value
        return word


def describe(person: dict, outfit: dict, scene: dict, rng: np.random.Generator) -> Description:
    """Both captions of one picture; only what this view can show is said.

    Args:
        person, outfit, scene: factor dicts of `World`.
        rng: decides wording and omissions.
    """
    who, what = _Teller(rng, "person"), _Teller(rng, "outfit")
    seen_from_front = scene["view"] in ("front", "front-left", "front-right")
    return Description(_of_person(who, person, outfit, scene),
                       _of_outfit(what, outfit, scene, seen_from_front), who.facts, what.facts)


def _of_person(say: _Teller, person: dict, outfit: dict, scene: dict) -> str:
    build = say.tell(0.6, "build", person["build"], BUILD_WORDS)
    height = say.tell(0.55, "height", person["height"], HEIGHT_WORDS)
    noun = say.tell(0.93, "sex", person["sex"], SEX_WORDS) or say.word(ANYONE)
    before = [w for w in ("" if " of " in f" {height}" else height, build) if w]
    name = " ".join([*before, noun])
    has = [t for t in _traits(say, person, outfit, scene) if t]
    gait = ""
    if scene["walking"] and scene["view"] not in ("front", "back"):
        gait = say.tell(0.3, "gait", person["gait"], GAIT_WORDS)
    he, his = PRONOUN[person["sex"]] if "person/sex" in say.facts else ("the person", "the")
    article = "an" if name[0] in "aeiou" else "a"
    sentence = f"{article} {name}" + (f" {height}" if " of " in f" {height}" else "")
    shape = say.word(("with", "with", "sentence", "semicolon"))
    if has and shape == "with":
        sentence += f" with {_listed(has)}"
    elif has and shape == "sentence":
        sentence += f". {he} has {_listed(has)}"
    elif has:
        opening = "visible are" if his == "the" else f"{he} is seen with"
        sentence += f"; {opening} {_listed(has)}"
    if gait:
        sentence += f", {gait}" if say.chance(0.5) else f". {he} is {gait}"
    return _sentences(sentence)


def _traits(say: _Teller, person: dict, outfit: dict, scene: dict) -> list[str]:
    facing = scene["view"] not in ("back", "back-left", "back-right")
    style, covered = person["hair_style"], outfit["hat_type"] != "none"
    hair = ""
    if style == "bald":
        if not covered:
            hair = say.tell(0.85, "hair_style", style, HAIR_STYLE_WORDS)
    else:
        colour = say.tell(0.88, "hair_colour", person["hair_colour"], HAIR_COLOUR_WORDS)
        shape = say.tell(0.8, "hair_style", style, HAIR_STYLE_WORDS)
        if shape or colour:
            hair = " ".join((shape or "{} hair").format(colour).split())
    traits = [hair, say.tell(0.5, "skin", person["skin"], SKIN_WORDS)]
    if facing and person["beard"] != "none":
        traits.append(say.tell(0.85, "beard", person["beard"], BEARD_WORDS))
    if facing and person["glasses"] != "none":
        traits.append(say.tell(0.88, "glasses", person["glasses"], GLASSES_WORDS))
    return traits if say.chance(0.6) else traits[::-1]


def _of_outfit(say: _Teller, outfit: dict, scene: dict, from_front: bool) -> str:
    upper = _upper(say, outfit, from_front)
    lower = _piece(say, outfit, "lower", LOWER_WORDS, 0.94, 0.94)
    hidden = scene["occluder"] in ("bin", "bush")
    shoes = _piece(say, outfit, "shoes", SHOES_WORDS, 0.55, 0.95) if not hidden else ""
    bag = hat = ""
    if outfit["bag_type"] != "none":
        bag = _article(_piece(say, outfit, "bag", BAG_WORDS, 0.85, 0.9))
    if outfit["hat_type"] != "none":
        hat = _article(_piece(say, outfit, "hat", HAT_WORDS, 0.88, 0.9))
    opening = say.word(("wearing", "dressed in", "clad in", "in", "outfit:", "the clothes are"))
    worn = [w for w in (_article(upper), _article(lower)) if w]
    if not worn:
        worn = ["everyday clothes"]
    sentence = f"{opening} {_listed(worn)}"
    extras = [w for w in (f"{say.word(('and', 'with', 'plus'))} {shoes}" if shoes else "",
                          f"{say.word(('carrying', 'holding', 'with'))} {bag}" if bag else "",
                          f"{say.word(('with', 'topped by', 'under'))} {hat}" if hat else "") if w]
    if not extras:
        return _sentences(sentence)
    if say.chance(0.5):
        return _sentences(f"{sentence}, {', '.join(extras)}")
    bare = [w for w in (shoes, bag, hat) if w]
    return _sentences(f"{sentence}. {say.word(('also', 'further', 'there is', 'plus'))} "
                      f"{_listed(bare)}")


def _upper(say: _Teller, outfit: dict, from_front: bool) -> str:
    noun = _piece(say, outfit, "upper", UPPER_WORDS, 0.96, 0.95)
    pattern = outfit["upper_pattern"]
    if not noun or pattern == "plain" or (pattern == "print" and not from_front):
        if noun and pattern == "plain" and say.chance(0.15):
            say.facts["outfit/upper_pattern"] = "plain"
            return f"{say.word(('plain', 'unpatterned', 'single-coloured'))} {noun}"
        return noun
    if not say.chance(0.85):
        return noun
    say.facts["outfit/upper_pattern"] = pattern
    before, after = PATTERN_WORDS[pattern]
    if say.chance(0.5):
        return f"{say.word(before)} {noun}"
    phrase = say.word(after)
    if "{}" in phrase:
        accent = say.tell(0.6, "accent_colour", outfit["accent_colour"], COLOUR_WORDS)
        phrase = phrase.format(f"{accent} " if accent else "")
    return f"{noun} {phrase}"


def _piece(say: _Teller, outfit: dict, piece: str, words: dict, p: float, p_colour: float) -> str:
    """Colour and noun of one garment; nothing at all when it goes unsaid."""
    noun = say.tell(p, f"{piece}_type", outfit[f"{piece}_type"], words)
    if not noun:
        return ""
    colour = say.tell(p_colour, f"{piece}_colour", outfit[f"{piece}_colour"], COLOUR_WORDS)
    return f"{colour} {noun}" if colour else noun


def _article(phrase: str) -> str:
    if not phrase or phrase.split(" with ")[0].split(" in ")[0].endswith("s"):
        return phrase
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _sentences(text: str) -> str:
    text = " ".join(text.split())
    return ". ".join(part[0].upper() + part[1:] for part in text.split(". ")) + "."

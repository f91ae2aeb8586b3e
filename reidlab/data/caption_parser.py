"""A free caption → what it says of the person and what it says of the clothes.

A rule splitter: cut into clauses, label each by its head noun, give colour
and length words to that head. Offline, no model; what it cannot place it leaves out.
"""
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

CLOTHING = """
    shirt shirts t-shirt tshirt tee top tops blouse sweater jumper pullover hoodie sweatshirt
    jacket blouson coat overcoat cardigan vest suit dress uniform robe gown jersey tunic polo
    pants trousers jeans denims shorts skirt slacks leggings tights capris khakis
    shoes shoe sneakers trainers boots sandals loafers heels slippers flip-flops socks flats
    bag bags backpack rucksack knapsack satchel purse handbag briefcase suitcase tote luggage
    hat cap beanie helmet hood scarf tie belt gloves watch umbrella outfit clothes clothing
    collar sleeves sleeve stripes stripe dots checks tartan plaid logo print emblem pattern
""".split()
IDENTITY = """
    man woman male female lady gentleman guy boy girl person pedestrian individual somebody
    figure fellow passer-by adult teenager child hair curls bob ponytail bun beard moustache
    mustache goatee face skin complexion tan eyes eyebrows forehead head scalp build body physique
    height stature age glasses spectacles eyeglasses sunglasses shades lenses chin freckles
    bald slim thin slender lean skinny stout stocky plump heavy broad tall short young old elderly
    middle-aged
""".split()
WORN = (r"(?:wearing|wears|dressed in|clad in|carrying|carries|holding|holds|outfit:|"
        r"the clothes are)")
IN = r"in\b(?!\s+(?:a\s+|an\s+|his\s+|her\s+)?(?:bob|bun|ponytail|braids?|plaits?|pigtails))"
_CUT = re.compile(rf"(?<=[.;!?])\s*|,\s*|(?<!not)(?<!clad)(?<!dressed)\s+(?=(?:{WORN}|{IN}"
                  r"|with|without|and|has|plus|under|topped by|who|his|her)\b)", re.IGNORECASE)
_LOOSE = re.compile(r"^(?:and|who|plus)\s+|\s+(?:and|with|is|has)$", re.IGNORECASE)
_WEARS = re.compile(rf"(?:{WORN}|{IN})", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z][A-Za-z\-]*")
_NO = re.compile(r"\b(?:no|not|without)\b(?!\s+hair)", re.IGNORECASE)
_COLOUR = frozenset("""black white grey gray red blue green yellow orange pink purple brown beige
    navy cream khaki maroon teal light dark""".split())
_AFTER_ARTICLE = re.compile(r"\b(?:a|an)\s+[a-z\-]+$", re.IGNORECASE)  # an adjective left alone
_STOPS = str.maketrans({"、": ",", "。": "."})  # NFKC knows the other full-width marks
_CLOTHING, _IDENTITY = frozenset(CLOTHING), frozenset(IDENTITY)


class Parts(NamedTuple):
    """The two sides of a caption; either may be empty."""

    identity: str
    clothing: str


def parse_caption(caption: str) -> Parts:
    """Identity part and clothing part of one caption, in their own words and order.

    Args:
        caption: any text; other scripts than Latin are left out.

    Returns:
        Both parts; an empty string where nothing is said. What is denied ("no hat") is dropped.
    """
    text = unicodedata.normalize("NFKC", caption).translate(_STOPS)
    sides: dict[str, list[str]] = {"identity": [], "clothing": []}
    last = None
    for clause in _whole(c.strip(" ,.;!?") for c in _CUT.split(text)):
        if not clause or _NO.search(clause):
            continue
        side = _side(clause) or last
        if side is None:
            continue
        sides[side].append(clause)
        last = side
    return Parts(*(_joined(sides[side]) for side in ("identity", "clothing")))


def _whole(clauses: Iterable[str]) -> Iterator[str]:
    """Put together again what was cut between two adjectives: "a blue | and white shirt"."""
    open_end = ""
    for clause in clauses:
        clause = f"{open_end} {clause}".strip()
        words = [w.lower() for w in _WORD.findall(clause)]
        if words and words[-1] in _COLOUR and _AFTER_ARTICLE.search(clause):
            open_end = clause
            continue
        open_end = ""
        yield clause
    if open_end:
        yield open_end


def _side(clause: str) -> str | None:
    """The side of the last telling noun; a clause of wearing without one is clothing."""
    for word in reversed([w.lower() for w in _WORD.findall(clause)]):
        if word in _CLOTHING:
            return "clothing"
        if word in _IDENTITY:
            return "identity"
    return "clothing" if _WEARS.match(clause) else None


def _joined(clauses: list[str]) -> str:
    clauses = [_LOOSE.sub("", clause).strip() for clause in clauses]
    text = ", ".join(clause for clause in clauses if clause)
    return f"{text[0].upper()}{text[1:]}." if text else ""

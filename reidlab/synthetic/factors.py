"""The known factors: every value a person, an outfit or a scene of the synthetic world can take.

A table maps a factor to ``(values, probabilities)``; ``None`` means all values alike.
"""

COLOURS = {  # name: RGB of the cloth in even light
    "black": (32, 32, 36), "white": (238, 238, 234), "grey": (140, 142, 146),
    "navy": (28, 40, 92), "blue": (48, 104, 204), "red": (204, 36, 40),
    "green": (40, 128, 62), "yellow": (240, 208, 48), "orange": (240, 134, 30),
    "purple": (122, 50, 150), "pink": (240, 140, 176), "brown": (116, 74, 42),
}
SKINS = {
    "pale": (246, 220, 200), "fair": (230, 190, 160), "tan": (200, 150, 112),
    "brown": (150, 100, 68), "dark": (92, 60, 44),
}
HAIRS = {
    "black": (26, 22, 24), "brown": (92, 58, 36), "blond": (222, 186, 108),
    "red": (172, 66, 28), "grey": (150, 150, 154), "white": (226, 224, 220),
}
PERSON = {  # factor: (values, probabilities); hair style and beard depend on sex, see `person`
    "sex": (("man", "woman"), (0.5, 0.5)),
    "build": (("slim", "average", "heavy"), (0.3, 0.4, 0.3)),
    "height": (("short", "average", "tall"), (0.3, 0.4, 0.3)),
    "skin": (tuple(SKINS), (0.2, 0.25, 0.2, 0.2, 0.15)),
    "hair_colour": (tuple(HAIRS), (0.24, 0.24, 0.18, 0.12, 0.12, 0.10)),
    "glasses": (("none", "glasses", "sunglasses"), (0.6, 0.25, 0.15)),
    "gait": (("relaxed", "brisk", "heavy"), (0.5, 0.3, 0.2)),
}
STATURE = {"short": 0.84, "average": 0.92, "tall": 1.0}   # of the frame a tall person fills
GIRTH = {"slim": 0.82, "average": 1.0, "heavy": 1.30}     # of an average body's widths
STRIDE = {"relaxed": 0.8, "brisk": 1.15, "heavy": 0.6}    # of an average step
HAIR_STYLES = ("bald", "short", "curly", "bob", "long", "ponytail", "bun")
HAIR_OF = {"man": (0.16, 0.46, 0.16, 0.10, 0.08, 0.02, 0.02),
           "woman": (0.00, 0.16, 0.14, 0.20, 0.24, 0.14, 0.12)}
BEARDS = ("none", "moustache", "beard")
OUTFIT = {
    "upper_type": (("t-shirt", "shirt", "sweater", "hoodie", "jacket", "coat"), None),
    "upper_colour": (tuple(COLOURS), None),
    "upper_pattern": (("plain", "horizontal stripes", "vertical stripes", "checks", "dots",
                       "print"), (0.5, 0.12, 0.1, 0.1, 0.08, 0.1)),
    "lower_type": (("jeans", "trousers", "shorts", "skirt"), (0.34, 0.3, 0.2, 0.16)),
    "lower_colour": (tuple(COLOURS), None),
    "shoes_type": (("sneakers", "boots", "shoes"), (0.45, 0.25, 0.3)),
    "shoes_colour": (("black", "white", "grey", "blue", "red", "green", "yellow", "brown"), None),
    "bag_type": (("none", "backpack", "shoulder bag", "handbag"), (0.36, 0.24, 0.22, 0.18)),
    "bag_colour": (tuple(COLOURS), None),
    "hat_type": (("none", "cap", "beanie", "sun hat"), (0.6, 0.16, 0.14, 0.1)),
    "hat_colour": (tuple(COLOURS), None),
}
SCENE = {
    "camera": (tuple(range(1, 7)), None),
    "background": (("street", "park", "shops", "square", "station"), None),
    "light": (("dim", "normal", "bright"), (0.2, 0.6, 0.2)),
    "occluder": (("none", "bin", "bush", "pole"), (0.72, 0.1, 0.1, 0.08)),
}
VIEWS = ("front", "front-left", "left", "back-left", "back", "back-right", "right", "front-right")

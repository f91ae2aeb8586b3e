"""Reports in, one Markdown table out: the numbers, with chance and ceiling beside them."""
from reidlab.tables import grid

ROWS = (  # title, table, direction
    ("same clothes, text → image", "same_clothes", "text_to_image"),
    ("same clothes, best hits re-ranked", "same_clothes_reranked", "text_to_image"),
    ("same clothes, image → text", "same_clothes", "image_to_text"),
    ("same clothes, ID caption only", "same_clothes_id_only", "text_to_image"),
    ("clothes-changing, ID caption → image", "clothes_changing", "text_to_image"),
    ("clothes-changing, image → image", "clothes_changing", "image_to_image"),
)
SCORES = (("R1", "r1"), ("R5", "r5"), ("R10", "r10"), ("mAP", "map"), ("mINP", "minp"))


def text_image(reports: list[dict], split: str = "test") -> str:
    """Retrieval and the probe matrix of one or several text-image runs.

    Args:
        reports: of `evaluate`.
        split: ``test`` or ``val``.

    Returns:
        Markdown; percentages, except the probe matrix, which is balanced accuracy above chance.
    """
    lines = [retrieval(reports, split)] if any(r["tables"][split] for r in reports) else []
    if any(r.get("data") != "synthetic" and r.get("outfits", {}).get(split) for r in reports) or (
            not lines):
        lines.append(outfits(reports, split))
    if all(r.get("probes") for r in reports):
        lines.append(probes(reports))
    return "\n\n".join(lines)


def headline(reports: list[dict], split: str = "test") -> str:
    """What a newcomer needs of text-image runs: two protocols with chance and ceiling, and what a
    probe reads from the identity vector."""
    shown = {"same_clothes": "text_to_image", "clothes_changing": "image_to_image"}
    rows = []
    for title, table, direction in ROWS:
        if shown.get(table) == direction:
            for report in reports:
                found = report["tables"][split][table][direction]
                rows.append([title, name_of(report), *(f"{100 * value:.1f}" for value in (
                    found["r1"], found["map"], found["chance"]["r1"], found["ceiling"]["r1"]))])
    read = [[name_of(report), *(_above(report["probes"]["matrix"]["identity"][kind])
                                for kind in ("identity", "clothing"))] for report in reports]
    return "\n\n".join((
        grid(["query → gallery", "design", "R1", "mAP", "chance R1", "ceiling R1"], rows),
        grid(["design", "identity factors", "clothing factors"], read)))


def kept(report: dict) -> dict:
    """The part of a report that tables and claims read, with all that a number needs to be
    believed: what is committed beside a table."""
    names = ("preset", "task", "size", "seed", "data", "fingerprint", "counts", "protocol",
             "identification", "dependence", "parameters", "versions", "commit", "started")
    probed = report.get("probes") or {}
    return {name: report[name] for name in names if name in report} | {
        "tables": {"test": report["tables"]["test"]},
        "probes": {name: probed[name] for name in ("matrix", "factors", "skipped")
                   if name in probed}}


def retrieval(reports: list[dict], split: str = "test") -> str:
    """One row a design and table."""
    head = ["query → gallery", "design", *(name for name, _ in SCORES), "same outfit @1", "queries",
            "gallery", "chance R1", "ceiling R1"]
    rows = []
    for title, table, direction in ROWS:
        for report in reports:
            found = report["tables"][split].get(table, {}).get(direction)
            if found is None:
                continue
            ceiling = found.get("ceiling", {}).get("r1")
            rows.append([title, name_of(report), *(f"{100 * found[key]:.1f}" for _, key in SCORES),
                         _percent(found.get("same_outfit_at_1")), str(found["queries"]),
                         str(found["gallery"]), f"{100 * found['chance']['r1']:.1f}",
                         _percent(ceiling)])
    return grid(head, rows)


OUTFITS = (("general", "image → image"), ("same_clothes", "image → image, same clothes"),
           ("clothes_changing", "image → image, clothes-changing"),
           ("same_clothes_single_shot", "same clothes, single shot"),
           ("clothes_changing_single_shot", "clothes-changing, single shot"))


def outfits(reports: list[dict], split: str = "test") -> str:
    """One row a kind of query by picture and design, and under the table the protocols."""
    head = ["query → gallery", "design", *(name for name, _ in SCORES), "queries", "skipped",
            "gallery", "chance R1"]
    rows: list[list[str]] = []
    protocols: dict[str, None] = {}
    for kind, title in OUTFITS:
        for report in reports:
            if found := report.get("outfits", {}).get(split, {}).get(kind):
                rows.append([title, name_of(report),
                             *(f"{100 * found[key]:.1f}" for _, key in SCORES),
                             str(found["queries"]), str(found["skipped"]), str(found["gallery"]),
                             f"{100 * found['chance']['r1']:.1f}"])
                protocols[found["protocol"]] = None
    if not rows:
        return "Nobody is seen in two pictures that may meet: nothing can be scored."
    return grid(head, rows) + "\n\nProtocols: " + " | ".join(protocols) + "."


def visible_infrared(reports: list[dict], split: str = "test") -> str:
    """One row a design and direction, and under the table the protocols that were used."""
    head = ["query → gallery", "design", *(name for name, _ in SCORES), "queries", "gallery",
            "chance R1"]
    rows = []
    protocols: dict[str, None] = {}
    for title, key in (("infrared → visible", "infrared_to_visible"),
                       ("the same, re-ranked", "infrared_to_visible_reranked"),
                       ("visible → infrared", "visible_to_infrared"),
                       ("the same, re-ranked", "visible_to_infrared_reranked")):
        for report in reports:
            found = report["tables"][split].get(key)
            if found is None:
                continue
            rows.append([title, name_of(report), *(f"{100 * found[k]:.1f}" for _, k in SCORES),
                         str(found["queries"]), str(found["gallery"]),
                         f"{100 * found['chance']['r1']:.1f}"])
            protocols[found["protocol"]["text"]] = None
    return grid(head, rows) + "\n\nProtocols: " + " | ".join(protocols) + "."


def probes(reports: list[dict]) -> str:
    """The 2 × 2 matrix and two single factors: balanced accuracy above chance (null level); a
    dash, and a line below, where a factor was not probed."""
    head = ["vector", "design", "identity factors", "clothing factors", "hair colour",
            "upper colour", "chance of the last two"]
    rows = []
    for vector in ("identity", "clothing"):
        for report in reports:
            found = report["probes"]
            cells = [found["matrix"][vector][kind] for kind in ("identity", "clothing")]
            pair = [found["factors"][vector].get(f) for f in ("person/hair_colour",
                                                              "outfit/upper_colour")]
            rows.append([vector, name_of(report), *map(_above, [*cells, *pair]), " / ".join(
                "–" if p is None else f"{p['chance']:.3f}" for p in pair)])
    skipped = dict.fromkeys(f"{factor} ({reason})" for report in reports
                            for factor, reason in report["probes"].get("skipped", {}).items())
    return grid(head, rows) + (f"\n\nNot probed: {'; '.join(skipped)}." if skipped else "")


def name_of(report: dict) -> str:
    """How a report's design is called in tables."""
    return report["preset"]


def _above(found: dict | None) -> str:
    return "–" if found is None else f"{found['above_chance']:+.3f} ({found['permutation_95']:.3f})"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"

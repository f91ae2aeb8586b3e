"""What each command does with its options.

Exit status 0 only on success; 2 and one line for everything a user can fix; 1 for a failed check.
"""
import json
import logging
import os
import sys
from pathlib import Path

from reidlab.errors import ReidlabError
from reidlab.options import parser

BY_OPTION = {  # fields with an option of their own
    "seed": "use --seed (compare: --seeds)", "data.source": "use --data", "size": "use --size",
    "name": "a design is named by its preset"}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        options = parser().parse_args(arguments)
        logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING,
                            format="%(message)s")
        result, text = COMMANDS[options.action_named](options)
    except ReidlabError as fault:
        return _refused(str(fault))
    except MemoryError:
        return _refused("not enough memory; lower training.batch_size or data.people")
    except KeyboardInterrupt:
        _refused("stopped; the same command goes on from the last checkpoint")
        return 130
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(result) if options.json else _printable(text))
    return 1 if isinstance(result, dict) and result.get("failed") else 0


def _refused(why: str) -> int:
    """One line on stderr, whatever a name or a message of a library holds."""
    print(f"reidlab: {_printable(' '.join(why.split()))}", file=sys.stderr)
    return 2


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _train(options):
    from reidlab.engine.train import train
    report = train(_experiment(options), options.folder, tracker=options.tracker)
    if "stopped_at" in report:
        return report, (f"stopped at step {report['stopped_at']}; the same command goes on")
    return report, _table(report) if report else ""  # the first of several processes has it


def _experiment(options):
    """A preset, or the experiment of a ``config.json``, with what the options change."""
    from reidlab.config.changes import change, from_dict
    from reidlab.config.files import fields_of, read_config
    from reidlab.presets import preset
    asked = {"seed": options.seed, "training__start": options.start and str(options.start)}
    changes = _changes(options) | {name: v for name, v in asked.items() if v is not None}
    name, beneath = options.preset, {}
    if options.config is not None:
        held = read_config(Path(options.config))
        if "task" not in held:
            beneath = {key.replace(".", "__"): v for key, v in fields_of(held).items()}
            if clash := {"name", "size"} & beneath.keys():
                raise ReidlabError(f"{options.config} says {', '.join(sorted(clash))}: a design is "
                                   "named by its preset, its size by --size; leave them out")
        elif name is not None:
            raise ReidlabError(f"{options.config} holds a whole experiment; leave {name!r:.60} out")
        else:
            name = options.config
    if name is None:
        raise ReidlabError("name a design, or a whole experiment by --config; see reidlab train "
                           "--help")
    if not name.endswith((".json", ".yaml", ".yml")):
        return preset(name, options.size or "tiny", **(beneath | changes))
    if options.size:
        raise ReidlabError(f"--size is part of {name}; leave the option out")
    whole = from_dict(read_config(Path(name)))
    return change(whole, {key.replace("__", "."): v for key, v in (beneath | changes).items()})


def _changes(options) -> dict:
    """What --data and --set change, with two underscores for a dot."""
    changes = {"data__source": options.data} if options.data else {}
    for change in options.changes:
        name, equals, value = change.partition("=")
        if not equals or not name:
            raise ReidlabError(f"--set needs part.field=value; got {change!r:.60}")
        if name in BY_OPTION:
            raise ReidlabError(f"--set {name}: {BY_OPTION[name]}")
        key = name.replace(".", "__")
        if key in changes:
            raise ReidlabError(f"--set {name} is given twice; give it once")
        changes[key] = value
    return changes


def _compare(options):
    from reidlab.engine.compare import compare, markdown
    table = compare(options.presets, options.seeds, options.folder, options.size,
                    _changes(options), options.at_once, quiet=False, trials=options.trials)
    return table, markdown(table)


def _sweep(options):
    from reidlab.engine.sweep import markdown, sweep
    grid = {}
    for field in options.grid:
        name, equals, values = field.partition("=")
        if not equals or not values:
            raise ReidlabError(f"a field to vary needs part.field=value,value; got {field!r:.60}")
        if name in BY_OPTION:
            raise ReidlabError(f"{name} cannot be varied: {BY_OPTION[name]}")
        grid[name] = values.split(",")
    found = sweep(options.preset, grid, options.folder, options.size, _changes(options),
                  options.seed, options.at_once, quiet=False)
    return found, markdown(found)


def _evaluate(options):
    from reidlab.engine.evaluate import evaluate, evaluate_elsewhere
    if options.data is None:
        report = evaluate(options.folder)
        return report, _table(report)
    report, file = evaluate_elsewhere(options.folder, options.data)
    return report, f"{_table(report)}\n\nkept in {file}; the run's own report is as it was"


def _table(report: dict) -> str:
    from reidlab.engine.evaluate import markdown
    try:
        return markdown([report])
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise ReidlabError("the run's report.json is damaged: it lacks scores that it should hold; "
                           "delete it and score the run again with reidlab evaluate") from fault


def _describe(options):
    from reidlab.engine.describe import describe, markdown
    from reidlab.presets import preset
    found = describe(preset(options.preset, options.size, **_changes(options)))
    return found, markdown(found)


def _pretrain(options):
    from reidlab.engine.pretrain import ENCODERS, pretrain
    made = pretrain(options.folder, options.steps, options.seed, options.image)
    use = [f"{part}.pretrained={options.folder}/{name}"
           for part, name in ENCODERS[options.image].items()]
    return made, f"{options.folder} holds the encoders; use them with --set {' '.join(use)}"


def _index(options):
    from reidlab.engine.indexing import index
    found = index(options.folder, options.pictures, options.out, options.modality, options.store)
    if not found:  # of several processes, another than the first
        return found, ""
    near = "exact search" if found["exact"] else (
        f"approximate search, finds {100 * found['recall']:.1f} % of the ten nearest")
    lines = [f"{options.out}: {found['count']} pictures ({found['embedded']} embedded now, "
             f"{found['dropped']} dropped, {len(found['broken'])} broken), {near}"]
    return found, "\n".join(lines + _broken(found))


def _embed(options):
    from reidlab.engine.embedding import embed_folder
    found = embed_folder(options.folder, options.pictures, options.out, options.modality)
    lines = [f"{found['count']} vectors of width {found['width']} in {found['file']}"]
    return found, "\n".join(lines + _broken(found))


def _broken(found: dict, most: int = 20) -> list[str]:
    """What is wrong with pictures that have no vector, a line each."""
    faults = [f"- {path} {what}" for path, what in found["broken"].items()]
    more = [f"- and {len(faults) - most} more; --json lists all"] if len(faults) > most else []
    return [*faults[:most], *more]


def _search(options):
    from reidlab.engine.search import search
    from reidlab.gallery.rows import Only
    from reidlab.plots.people import draw_hits
    text = _printable(options.text)
    only = Only(tuple(options.camera), options.since, options.until)
    hits = search(options.folder, text, options.k, options.gallery, options.weight, options.photo,
                  options.by, only, options.modality)
    picture = Path(options.draw or Path(options.folder) / "search.png")
    draw_hits(hits, text or Path(options.photo).name, picture)
    lines = ["rank  score     id  cloth  picture"] + [
        f"{n:4d} {h.score:6.3f} {h.id_score:6.3f} {h.cloth_score:6.3f}  {h.path}"
        for n, h in enumerate(hits, start=1)]
    return {"hits": [h.to_dict() for h in hits], "picture": str(picture)}, "\n".join(
        [*lines, f"drawn in {picture}"])


def _check(options):
    from reidlab.data.checking import check, markdown
    found = check(options.layout, Path(options.folder), options.trial)
    found["failed"] = sum(p["fatal"] for p in found["problems"])
    return found, markdown(found)


def _export(options):
    from reidlab.data.exporting import export_synthetic
    try:
        height, width = (int(n) for n in options.picture.split("x"))
    except ValueError:
        raise ReidlabError(f"--picture takes HEIGHTxWIDTH such as 96x48; got "
                           f"{options.picture!r}") from None
    count = export_synthetic(Path(options.folder), options.layout, (height, width), options.people,
                         options.held_out, options.shots, options.seed, f".{options.format}")
    return {"folder": options.folder, "pictures": count}, (
        f"{count} pictures in {options.folder}; train on them with --data "
        f"{options.layout}:{options.folder}")


def _template(options):
    from reidlab.data.own_folder import LIST, template
    count = template(Path(options.folder))
    return {"folder": options.folder, "pictures": count}, (
        f"{count} lines in {options.folder}/{LIST}; look at the people, then reidlab data check "
        f"{options.folder} --layout folder")


def _run(options):
    from reidlab.notebook_runner import execute
    failed, ran = "", []
    for name in options.notebooks:
        if failed := execute(Path(name), store=options.store):
            break
        ran.append(name)
    return {"notebooks": options.notebooks, "failed": failed}, failed or (
        f"{', '.join(ran)}: ran")


def _bench(options):
    if options.train:
        from reidlab import training_speed
        from reidlab.presets import preset
        speed = training_speed.measure(preset(options.train, options.size, **_changes(options)),
                                       options.steps)
        return speed, training_speed.markdown(speed)
    if options.gallery is not None:
        from reidlab import gallery_speed
        found = gallery_speed.measure(options.gallery)
        return found, gallery_speed.markdown(found)
    from reidlab.bench import bench, markdown
    found = bench(options.rounds)
    return found, markdown(found)


def _doctor(options):
    from reidlab.doctor import examine
    found = examine()
    width = max(map(len, found))
    return found, "\n".join(f"{name:{width}}  {value}" for name, value in found.items())


COMMANDS = {"train": _train, "compare": _compare, "sweep": _sweep, "evaluate": _evaluate,
            "index": _index, "embed": _embed,
            "search": _search, "describe": _describe, "pretrain": _pretrain, "export": _export,
            "check": _check, "template": _template, "run": _run, "bench": _bench, "doctor": _doctor}


if __name__ == "__main__":
    sys.exit(main())

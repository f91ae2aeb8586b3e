"""Commands: train, pretrain, compare, sweep, evaluate, search, describe, data, run, bench, doctor.

Exit status 0 only on success; 2 and one line for everything a user can fix; 1 for a failed check.
"""
import argparse
import json
import logging
import os
import sys
from pathlib import Path

from reidlab.errors import ReidlabError

BY_OPTION = {  # fields with an option of their own
    "seed": "use --seed (compare: --seeds)", "data.source": "use --data", "size": "use --size",
    "name": "a design is named by its preset"}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with an option in one line, as for everything else."""

    def error(self, message: str):
        raise ReidlabError(f"{' '.join(message.split())}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = _Parser(prog="reidlab", description=__doc__.splitlines()[0])
    top.add_argument("-v", "--verbose", action="store_true", help="say which paths are taken")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    layouts = "cuhk-pedes, icfg-pedes, rstpreid, sysu-mm01, regdb or llcm"

    def command(name: str, run, about: str, within=commands) -> argparse.ArgumentParser:
        found = within.add_parser(name, help=about, description=about)
        found.set_defaults(run=run)
        found.add_argument("--json", action="store_true", help="print the result as one object")
        return found

    def path(one: argparse.ArgumentParser, option: str, **more) -> None:
        one.add_argument(option, type=_path, **more)

    def settings(one: argparse.ArgumentParser, size: str | None = "tiny") -> None:
        one.add_argument("--size", default=size,
                         help=f"tiny, small or base (default: {size or 'tiny'})")
        one.add_argument("--data", help="synthetic (default), or LAYOUT:DIR")
        one.add_argument("--set", dest="changes", action="extend", nargs="+", default=[],
                         metavar="PART.FIELD=VALUE", help="change any field of the experiment")

    one = command("train", _train, "train a preset, or go on where its run stands")
    one.add_argument("preset", help="a design, or a config.json that holds a whole experiment")
    path(one, "--run", dest="folder", required=True, help="folder of the run")
    path(one, "--from", dest="start", metavar="RUN", help="start from the best weights of a run")
    one.add_argument("--seed", type=int)
    settings(one, size=None)
    one = command("compare", _compare, "train designs × seeds and lay them side by side")
    one.add_argument("presets", nargs="+", help="designs; the last is compared with each other")
    path(one, "--out", dest="folder", required=True, help="folder of all runs")
    one.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    one.add_argument("--at-once", type=int, help="runs side by side; default: one a core, or a GPU")
    settings(one)
    one = command("sweep", _sweep, "train every combination of some fields and name the best")
    one.add_argument("preset")
    one.add_argument("grid", nargs="+", metavar="PART.FIELD=VALUE,VALUE", help="fields to vary")
    path(one, "--out", dest="folder", required=True, help="folder of all runs")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--at-once", type=int, help="runs side by side; default: one a core, or a GPU")
    settings(one)
    one = command("evaluate", _evaluate, "score a trained run and write its report.json")
    path(one, "folder", metavar="RUN")
    one = command("search", _search, "rank people by a description")
    path(one, "folder", metavar="RUN")
    one.add_argument("text")
    one.add_argument("-k", type=int, default=10, help="number of hits")
    path(one, "--gallery", help="a folder of pictures; default: the run's test people")
    path(one, "--draw", help="picture file to write; default: RUN/search.png")
    one = command("describe", _describe, "parts, losses and sources of a design")
    one.add_argument("preset")
    settings(one, size="base")
    one = command("pretrain", _pretrain, "train the tiny encoders on whole captions, or go on")
    path(one, "--out", dest="folder", required=True, help="folder of the encoders")
    one.add_argument("--steps", type=int, default=40_000)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--image", choices=("vit", "resnet"), default="vit", help="resnet is deen's")
    data = commands.add_parser("data", help="write the synthetic world as a data set, or check one",
                               description="write the synthetic world as a data set, or check one")
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    one = command("export", _export, "write the synthetic people in a public layout", actions)
    path(one, "folder", metavar="DIR")
    one.add_argument("--layout", default="cuhk-pedes", help=layouts)
    one.add_argument("--people", type=int, default=1000, help="training people")
    one.add_argument("--held-out", type=int, default=200, help="people in val and in test each")
    one.add_argument("--picture", default="96x48", metavar="HxW", help="size in pixels")
    one.add_argument("--format", default="png", choices=("png", "jpg"))
    one.add_argument("--seed", type=int, default=0, help="of the world")
    one.add_argument("--shots", type=int, default=4, help="pictures a person (in each modality)")
    one = command("check", _check, "counts, unreadable pictures, shared people and captions",
                  actions)
    path(one, "folder", metavar="DIR")
    one.add_argument("--layout", default="cuhk-pedes", help=layouts)
    one = command("run", _run, "execute notebooks from a clean kernel and show their progress")
    path(one, "notebooks", nargs="+", metavar="NOTEBOOK")
    one.add_argument("--store", action="store_true", help="keep the outputs in the files")
    one = command("bench", _bench, "what costs how much, as ratios within one run")
    one.add_argument("--rounds", type=int, default=7, help="turns of each comparison")
    command("doctor", _doctor, "what is installed, and which path is taken")
    return top


def _path(text: str) -> str:
    from reidlab.files import usable
    try:
        return str(usable(text))
    except ReidlabError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from fault


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        options = parser().parse_args(arguments)
        logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING,
                            format="%(message)s")
        result, text = options.run(options)
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
    report = train(_experiment(options), options.folder)
    if "stopped_at" in report:
        return report, (f"stopped at step {report['stopped_at']}; the same command goes on")
    return report, _table(report) if report else ""  # the first of several processes has it


def _experiment(options):
    """A preset, or the experiment of a ``config.json``, with what the options change."""
    from reidlab.config.changes import change, from_dict
    from reidlab.files import read_json
    from reidlab.presets import preset
    asked = {"seed": options.seed, "training__start": options.start and str(options.start)}
    changes = _changes(options) | {name: v for name, v in asked.items() if v is not None}
    if not options.preset.endswith(".json"):
        return preset(options.preset, options.size or "tiny", **changes)
    if options.size:
        raise ReidlabError(f"--size is part of {options.preset}; leave the option out")
    raw = read_json(Path(options.preset))
    held = raw.get("experiment", raw) if isinstance(raw, dict) else raw
    return change(from_dict(held), {name.replace("__", "."): v for name, v in changes.items()})


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
                    _changes(options), options.at_once, quiet=False)
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
    from reidlab.engine.evaluate import evaluate
    report = evaluate(options.folder)
    return report, _table(report)


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


def _search(options):
    from reidlab.engine.search import search
    from reidlab.plots.people import draw_hits
    text = _printable(options.text)
    hits = search(options.folder, text, options.k, options.gallery)
    picture = Path(options.draw or Path(options.folder) / "search.png")
    draw_hits(hits, text, picture)
    lines = ["rank  score     id  cloth  picture"] + [
        f"{n:4d} {h.score:6.3f} {h.id_score:6.3f} {h.cloth_score:6.3f}  {h.path}"
        for n, h in enumerate(hits, start=1)]
    return {"hits": [h.to_dict() for h in hits], "picture": str(picture)}, "\n".join(
        [*lines, f"drawn in {picture}"])


def _check(options):
    from reidlab.data.checking import check, markdown
    found = check(options.layout, Path(options.folder))
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
    from reidlab.bench import bench, markdown
    found = bench(options.rounds)
    return found, markdown(found)


def _doctor(options):
    from reidlab.doctor import examine
    found = examine()
    width = max(map(len, found))
    return found, "\n".join(f"{name:{width}}  {value}" for name, value in found.items())


if __name__ == "__main__":
    sys.exit(main())

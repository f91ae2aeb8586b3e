"""What the command line takes: every command, its options, and what a path must be."""
import argparse
import datetime

from reidlab.data.records import MODALITIES
from reidlab.errors import ReidlabError
from reidlab.files import usable

ABOUT = ("Commands: train, pretrain, compare, sweep, evaluate, index, search, embed, describe, "
         "data, run, bench, doctor.")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with an option in one line, as for everything else."""

    def error(self, message: str):
        raise ReidlabError(f"{' '.join(message.split())}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = _Parser(prog="reidlab", description=ABOUT)
    top.add_argument("-v", "--verbose", action="store_true", help="say which paths are taken")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    layouts = "cuhk-pedes, icfg-pedes, rstpreid, prcc, ltcc, sysu-mm01, regdb, llcm or folder"

    def command(name: str, about: str, within=commands) -> argparse.ArgumentParser:
        found = within.add_parser(name, help=about, description=about)
        found.set_defaults(action_named=name)
        found.add_argument("--json", action="store_true", help="print the result as one object")
        return found

    def path(one: argparse.ArgumentParser, option: str, **more) -> None:
        one.add_argument(option, type=_path, **more)

    def settings(one: argparse.ArgumentParser, size: str | None = "tiny") -> None:
        one.add_argument("--size", default=size,
                         help=f"tiny, small, base or clip (default: {size or 'tiny'})")
        one.add_argument("--data", help="synthetic (default), or LAYOUT:DIR")
        one.add_argument("--set", dest="changes", action="extend", nargs="+", default=[],
                         metavar="PART.FIELD=VALUE", help="change any field of the experiment")

    one = command("train", "train a preset, or go on where its run stands")
    one.add_argument("preset", nargs="?", help="a design, or a config.json that holds a whole one")
    path(one, "--config", help="YAML or JSON: fields beneath --set, or a run's config.json, whole")
    path(one, "--run", dest="folder", required=True, help="folder of the run")
    path(one, "--from", dest="start", metavar="RUN", help="start from the best weights of a run")
    one.add_argument("--seed", type=int)
    one.add_argument("--tracker", choices=("tensorboard", "wandb"),
                     help="log there, too, beside the run's metrics.jsonl")
    settings(one, size=None)
    one = command("compare", "train designs × seeds and lay them side by side")
    one.add_argument("presets", nargs="+", help="designs; the last is compared with each other")
    path(one, "--out", dest="folder", required=True, help="folder of all runs")
    one.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    one.add_argument("--trials", type=int, nargs="+", help="of regdb: its splits in place of "
                     "seeds; papers report the mean over 1 to 10")
    one.add_argument("--at-once", type=int, help="runs side by side; default: one a core, or a GPU")
    settings(one)
    one = command("sweep", "train every combination of some fields and name the best")
    one.add_argument("preset")
    one.add_argument("grid", nargs="+", metavar="PART.FIELD=VALUE,VALUE", help="fields to vary")
    path(one, "--out", dest="folder", required=True, help="folder of all runs")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--at-once", type=int, help="runs side by side; default: one a core, or a GPU")
    settings(one)
    one = command("evaluate", "score a trained run and write its report.json")
    path(one, "folder", metavar="RUN")
    one.add_argument("--data", help="score it on other data, LAYOUT:DIR; the run's report stays")
    one = command("index", "embed a folder of pictures into a gallery, or bring one up to date")
    path(one, "folder", metavar="RUN")
    path(one, "pictures", metavar="PICTURES", help="a folder; picture files at any depth")
    path(one, "--out", dest="out", required=True, metavar="GALLERY", help="folder of the gallery")
    one.add_argument("--gallery", dest="store", default="local", metavar="milvus:URI",
                     help="keep the vectors in Milvus: an address, or a file of Milvus Lite")
    one.add_argument("--modality", choices=MODALITIES, default="visible")
    one = command("embed", "write the vectors of a folder of pictures into one file")
    path(one, "folder", metavar="RUN")
    path(one, "pictures", metavar="PICTURES", help="a folder; picture files at any depth")
    path(one, "--out", dest="out", required=True, metavar="FILE", help=".npz or .parquet")
    one.add_argument("--modality", choices=MODALITIES, default="visible")
    one = command("search", "rank people by a description, a photo, or both")
    path(one, "folder", metavar="RUN|GALLERY")
    one.add_argument("text", nargs="?", default="")
    path(one, "--photo", help="a picture: the person, the clothes, or both")
    one.add_argument("--by", choices=("identity", "clothing", "both"),
                     help="what the photo gives; words give the rest (default: identity)")
    one.add_argument("-k", type=int, help="number of hits (default: 10, or as many as there are)")
    path(one, "--gallery", metavar="PICTURES",
         help="of a run: a folder of pictures; default: its test people")
    one.add_argument("--weight", type=float, metavar="LAMBDA",
                     help="of clothing beside identity; default: the run's, 0: any clothes")
    one.add_argument("--modality", choices=MODALITIES,
                     help="of the photo, visible-infrared runs; default: the other one")
    one.add_argument("--camera", type=int, nargs="+", default=[], help="of a gallery: these alone")
    one.add_argument("--since", type=_moment, metavar="DATE", help="of a gallery: 2026-01-31, or "
                     "2026-01-31T08:00; files last written then or later")
    one.add_argument("--until", type=_moment, metavar="DATE")
    path(one, "--draw", help="picture file to write; default: RUN/search.png")
    one = command("describe", "parts, losses and sources of a design")
    one.add_argument("preset")
    settings(one, size="base")
    one = command("pretrain", "train the tiny encoders on whole captions, or go on")
    path(one, "--out", dest="folder", required=True, help="folder of the encoders")
    one.add_argument("--steps", type=int, default=40_000)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--image", choices=("vit", "resnet"), default="vit", help="resnet is deen's")
    data = commands.add_parser("data", help="write the synthetic world as a data set, or check one",
                               description="write the synthetic world as a data set, or check one")
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    one = command("export", "write the synthetic people in a public layout", actions)
    path(one, "folder", metavar="DIR")
    one.add_argument("--layout", default="cuhk-pedes", help=layouts)
    one.add_argument("--people", type=int, default=1000, help="training people")
    one.add_argument("--held-out", type=int, default=200, help="people in val and in test each")
    one.add_argument("--picture", default="96x48", metavar="HxW", help="size in pixels")
    one.add_argument("--format", default="png", choices=("png", "jpg"))
    one.add_argument("--seed", type=int, default=0, help="of the world")
    one.add_argument("--shots", type=int, default=4, help="pictures a person (in each modality)")
    one = command("check", "counts, unreadable pictures, shared people and captions",
                  actions)
    path(one, "folder", metavar="DIR")
    one.add_argument("--layout", default="cuhk-pedes", help=layouts)
    one.add_argument("--trial", type=int, default=1, help="of regdb: which of its ten splits")
    one = command("template", "write people.jsonl for a folder of your own pictures", actions)
    path(one, "folder", metavar="DIR")
    one = command("run", "execute notebooks from a clean kernel and show their progress")
    path(one, "notebooks", nargs="+", metavar="NOTEBOOK")
    one.add_argument("--store", action="store_true", help="keep the outputs in the files")
    one = command("bench", "what costs how much, as ratios within one run")
    one.add_argument("--rounds", type=int, default=7, help="turns of each comparison")
    one.add_argument("--train", metavar="PRESET", help="measure the training of a design instead")
    one.add_argument("--steps", type=int, default=20, help="steps that are measured, with --train")
    one.add_argument("--gallery", type=int, metavar="N", help="measure the search of N vectors")
    settings(one)
    command("doctor", "what is installed, and which path is taken")
    return top


def _moment(text: str) -> int:
    """Seconds since 1970 of a date; a clock without a zone is this machine's."""
    try:
        return int(datetime.datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError) as fault:
        raise argparse.ArgumentTypeError(
            f"{text!r:.40} is no date; write 2026-01-31 or 2026-01-31T08:00") from fault


def _path(text: str) -> str:
    try:
        return str(usable(text))
    except ReidlabError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from fault

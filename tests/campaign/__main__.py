"""Look for what nobody has thought of: kills, malformed inputs, full disks.

Writes ``campaign.json`` and ``campaign.md``; exit status 1 when anything was found.
"""
import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

PARTS = ("inputs", "disk", "kills")
QUIET = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
         "MPLBACKEND": "agg", "COLUMNS": "200", "CUDA_VISIBLE_DEVICES": ""}


def main(arguments: list[str] | None = None) -> int:
    """Run the parts that are asked for; returns the exit status."""
    options = _parser().parse_args(arguments)
    os.environ.update(QUIET | {"PYTHONPATH": str(Path(__file__).parents[2])})
    os.environ.pop("REIDLAB_CACHE", None)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # tidies up
    out = Path(options.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    from tests.campaign import summary
    if options.case is not None:
        return _one(options, out)
    results = {}
    with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
        for part in PARTS:
            if options.only in (None, part):
                results[part] = list(_watched(part, PART[part](options, Path(scratch) / part)))
                found = summary.write(results, out, options.seed)
    print((out / "campaign.md").read_text().split("\n## Findings")[0])
    print(f"{found} findings; all of them in {out / 'campaign.md'}")
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    top.add_argument("--out", default="runs/campaign", help="folder of campaign.json and .md")
    top.add_argument("--kills", type=int, default=100)
    top.add_argument("--inputs", type=int, default=1000)
    top.add_argument("--seed", type=int, default=0)
    top.add_argument("--at-once", type=int, default=2, help="victims or cases side by side")
    top.add_argument("--limit", type=float, default=60.0, help="seconds until a command hangs")
    top.add_argument("--only", choices=PARTS)
    top.add_argument("--case", type=int, help="one malformed input; its folder is kept in --out")
    return top


def _inputs(options, scratch: Path, numbers: Iterable[int] = (), keep: bool = False
            ) -> Iterator[dict]:
    from tests.campaign.inputs import Campaign, examine_all
    from tests.campaign.world import World, warm_up
    warm_up()
    world = World(scratch / "world").make()
    campaign = Campaign(world, scratch, options.seed, options.limit, keep)
    yield from examine_all(campaign, list(numbers) or list(range(options.inputs)), options.at_once)


def _disk(options, scratch: Path) -> Iterator[dict]:
    from tests.campaign.disk import fill_up
    from tests.campaign.world import World, warm_up
    warm_up()
    yield from fill_up(World(scratch / "world").make(), scratch, options.limit)


def _kills(options, scratch: Path) -> Iterator[dict]:
    from tests.campaign.kills import kill_all
    yield from kill_all(options.kills, options.seed, options.at_once, scratch)


PART = {"inputs": _inputs, "disk": _disk, "kills": _kills}


def _watched(part: str, results: Iterator[dict]) -> Iterator[dict]:
    began, found = time.monotonic(), 0
    for count, one in enumerate(results, start=1):
        found += len(one["findings"])
        if part != "inputs" or count % 50 == 0:
            print(f"{part}: {count} done, {found} findings, {time.monotonic() - began:.0f} s",
                  file=sys.stderr, flush=True)
        yield one


def _one(options, out: Path) -> int:
    """Repeat one malformed input, show all it said, and keep its folder."""
    from tests.campaign.summary import command
    folder = out / f"case-{options.case}"
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier time
    one, = _inputs(options, folder, [options.case], keep=True)
    print(f"case {one['case']}, {one['area']}: {one['what']}")
    for outcome in one["outcomes"]:
        print(f"\n$ {command(outcome['command'])}\n{outcome['stdout']}{outcome['stderr']}"
              f"status {outcome['status']} after {outcome['seconds']} s")
    print("", *(f"{f['kind']} {f['where']} {f['what']}" for f in one["findings"]), sep="\n")
    print(f"its folder: {folder / f'{options.case:05d}'}")
    return 1 if one["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())

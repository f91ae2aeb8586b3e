"""Malformed inputs, side by side: build a case, run its commands, judge what is left."""
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from tests.campaign.cases import Case, build
from tests.campaign.judging import Finding, last_words, left, one_line, snapshot, told
from tests.campaign.running import Outcome, Place, run
from tests.campaign.world import World


@dataclass(frozen=True)
class Campaign:
    """What every case shares.

    Attributes:
        world: sound folders.
        scratch: each case gets a folder of its own in it.
        seed: of all cases.
        limit: seconds a command.
        keep: leave the folder of a case for looking.
    """

    world: World
    scratch: Path
    seed: int = 0
    limit: float = 60.0
    keep: bool = False


def examine(campaign: Campaign, number: int) -> dict:
    """One case from its number: commands, outcomes and findings as plain data."""
    place = Place(campaign.scratch / f"{number:05d}").make()
    try:
        area, case = build(number, campaign.seed, campaign.world, place)
        outcomes, findings = _execute(case, place, campaign.limit)
        return {"case": number, "area": area, "what": one_line(case.what),
                "outcomes": [_short(o) for o in outcomes],
                "findings": [f.to_dict() for f in dict.fromkeys(findings)]}
    finally:
        if not campaign.keep:
            shutil.rmtree(place.root, ignore_errors=True)


def _execute(case: Case, place: Place, limit: float) -> tuple[list[Outcome], list[Finding]]:
    outcomes, findings = [], []
    before = snapshot(place)
    for arguments in case.commands:
        outcome = run(arguments, place, limit, case.environment)
        after = snapshot(place)
        outcomes.append(outcome)
        findings += told(outcome) + left(outcome, place, before, after,
                                         case.environment.get("REIDLAB_CACHE", ""))
        before = after
        if outcome.status is None:
            return outcomes, findings  # the next would hang just so
    last = outcomes[-1]
    if last.status == 0 and case.forbidden:
        findings.append(Finding("accepted", "", f"{case.forbidden}: {one_line(case.what)}"))
    if last.status and outcomes[0].status == 0 and outcomes[0].arguments[:2] == ["data", "check"]:
        said = last_words(last.stderr)
        if "training." not in said:  # which is about settings, and no fault of the data
            findings.append(Finding("checked", "", "data check found nothing, train says: "
                                    + one_line(said)))
    if case.correct and last.status:
        findings += _blocked(case, place, limit)
    return outcomes, findings


def _blocked(case: Case, place: Place, limit: float) -> list[Finding]:
    """Whether a refused train keeps its fixed command from its own folder."""
    folder = place.work / case.correct[case.correct.index("--run") + 1]
    log = folder / "metrics.jsonl"
    if not (folder / "config.json").exists() or log.exists() and log.stat().st_size:
        return []  # nothing began, or steps were trained that belong to these settings
    (folder / "stop").touch()  # one step is enough to see that it begins
    again = run(case.correct, place, limit)
    if again.status == 0:
        return []
    return [Finding("blocked", "", "the fixed command says: "
                    + one_line(last_words(again.stderr)))]


def _short(outcome: Outcome) -> dict:
    return {"command": [one_line(a, 200) for a in outcome.arguments], "status": outcome.status,
            "seconds": outcome.seconds, "stderr": outcome.stderr[-2000:],
            "stdout": outcome.stdout[-500:]}


def examine_all(campaign: Campaign, numbers: list[int], at_once: int) -> Iterator[dict]:
    """Results of many cases in the order of their numbers' ends.

    Each worker is forked from this process, which has imported the package and computed nothing.
    """
    with ProcessPoolExecutor(at_once, mp_context=get_context("fork")) as pool:
        jobs = {pool.submit(examine, campaign, number): number for number in numbers}
        for job in as_completed(jobs):
            fault = job.exception()
            yield job.result() if fault is None else {
                "case": jobs[job], "area": "", "what": "", "outcomes": [], "findings": [
                    Finding("harness", "", one_line(repr(fault))).to_dict()]}

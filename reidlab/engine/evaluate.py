"""Score a trained run once on its test people and write the report."""
from pathlib import Path
from typing import Any

from reidlab.config import Experiment, flatten
from reidlab.config.changes import change
from reidlab.data.fingerprint import fingerprint
from reidlab.data.loading import with_absolute_source
from reidlab.engine.precision import fastest_device
from reidlab.errors import ReidlabError
from reidlab.files import write_json
from reidlab.runs.folder import RunFolder
from reidlab.runs.provenance import provenance
from reidlab.tasks import TASKS, load, load_data


def evaluate(run_dir: str | Path, data=None) -> dict:
    """Final scores of a run, written to its ``report.json``; on the GPU where there is one.

    Args:
        run_dir: a trained run.
        data: its data when already loaded.

    Returns:
        The report: preset, seed, data, the task's scores with their protocol and counts,
        parameters, versions and commit.

    Raises:
        ReidlabError: no trained run, or data other than those it was trained on.
    """
    run = RunFolder(run_dir)
    experiment, model = run.experiment(), load(run_dir, fastest_device())
    data = data or load_data(experiment)
    trained_on, found = run.fingerprint(), fingerprint(data)
    if trained_on not in (None, found):
        raise ReidlabError(
            f"{run.path} was trained on other data than {experiment.data.source} holds now "
            f"(fingerprint {trained_on} then, {found} now); its report was left as it is: restore "
            "the data, or train on these in a new folder")
    report = _report(experiment, model, data, found)
    write_json(run.report, report)
    return report


def evaluate_elsewhere(run_dir: str | Path, source: str) -> tuple[dict, Path]:
    """Scores of a run on data that it was not trained on; the run's own report stays.

    Args:
        run_dir: a trained run.
        source: ``LAYOUT:DIR``, or ``synthetic``; what else the run's data fields say holds.

    Returns:
        The report, as of `evaluate` with ``trained_on``, and the file that keeps it:
        ``reports/LAYOUT-DIGEST.json`` in the run's folder.

    Raises:
        ReidlabError: no trained run, unknown data, or data of the other task.
    """
    run = RunFolder(run_dir)
    trained = run.experiment()
    known = {"data.source": source, "data.train_on_val": False}
    experiment = with_absolute_source(change(trained, {
        name: value for name, value in known.items() if name in flatten(trained)}))
    model = load(run_dir, fastest_device())
    data = load_data(experiment)
    report = _report(experiment, model, data, fingerprint(data)) | {
        "trained_on": trained.data.source}
    layout = experiment.data.source.partition(":")[0]
    file = run.path / "reports" / f"{layout}-{report['fingerprint'][:8]}.json"
    write_json(file, report)
    return report, file


def _report(experiment: Experiment, model: Any, data, found: str) -> dict:
    return {
        "preset": experiment.name, "task": experiment.task, "size": experiment.size,
        "seed": experiment.seed, "data": experiment.data.source, "fingerprint": found,
        **TASKS[experiment.task].scores(experiment, model, data),
        "parameters": sum(p.numel() for p in model.parameters()), **provenance()}


def markdown(reports: list[dict]) -> str:
    """The table of one or several runs of one task, as its task draws it up.

    Args:
        reports: of `evaluate`.
    """
    return TASKS[reports[0]["task"]].table(reports)

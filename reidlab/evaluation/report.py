"""Score a trained run once on its test people and write the report."""
from pathlib import Path

from reidlab.config import Experiment, InfraredExperiment
from reidlab.data.fingerprint import fingerprint
from reidlab.data.loading import load as load_text_image
from reidlab.data.pairs import load_pairs
from reidlab.errors import ReidlabError
from reidlab.evaluation.infrared_report import infrared_scores
from reidlab.evaluation.text_report import text_image_scores
from reidlab.files import write_json
from reidlab.models.building import load
from reidlab.runs.folder import RunFolder
from reidlab.runs.provenance import provenance

TASKS = {Experiment.task: (load_text_image, text_image_scores),
         InfraredExperiment.task: (load_pairs, infrared_scores)}


def evaluate(run_dir: str | Path, data=None) -> dict:
    """Final scores of a run, written to its ``report.json``.

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
    experiment, model = run.experiment(), load(run_dir)
    read, scores = TASKS[experiment.task]
    data = data or read(experiment.data, (experiment.image.height, experiment.image.width))
    trained_on, found = run.fingerprint(), fingerprint(data)
    if trained_on not in (None, found):
        raise ReidlabError(
            f"{run.path} was trained on other data than {experiment.data.source} holds now "
            f"(fingerprint {trained_on} then, {found} now); its report was left as it is: restore "
            "the data, or train on these in a new folder")
    report = {
        "preset": experiment.name, "task": experiment.task, "size": experiment.size,
        "seed": experiment.seed, "data": experiment.data.source, "fingerprint": found,
        **scores(experiment, model, data),
        "parameters": sum(p.numel() for p in model.parameters()), **provenance()}
    write_json(run.report, report)
    return report

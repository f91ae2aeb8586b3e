"""The architecture: imports run one way, no module is missing, files keep to one idea."""
import ast
import importlib
import pkgutil
from pathlib import Path

import reidlab

ROOT = Path(reidlab.__file__).parent
ORDER = [  # a module imports only from its own level or from one further up
    {"errors", "places", "tables", "threads", "synthetic"}, {"files"}, {"config"},
    {"presets", "runs", "data", "plots", "expansion"}, {"batches", "encoders", "gallery"},
    {"disentangle", "fusion"}, {"models", "losses"}, {"evaluation"}, {"tasks"}, {"engine"},
    {"notebook", "notebook_runner", "notebook_store", "doctor", "widgets"},
    {"beside", "training_speed", "gallery_speed"}, {"bench", "options"},
    {"__main__", "__init__"}]


def level(module: str) -> int:
    name = module.removeprefix("reidlab.") if module != "reidlab" else "__init__"
    for k, rooms in enumerate(ORDER):
        if any(name == room or ("." in room and name == room) for room in rooms):
            return k
    for k, rooms in enumerate(ORDER):
        if name.split(".")[0] in rooms:
            return k
    raise AssertionError(f"{module} has no place in ORDER")


def modules():
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(("reidlab", *parts)).removesuffix(".__init__")
        yield name, file


def test_imports_run_one_way():
    for name, file in modules():
        for node in ast.walk(ast.parse(file.read_text())):
            targets = []
            if isinstance(node, ast.ImportFrom) and node.module:
                targets = [node.module]
            elif isinstance(node, ast.Import):
                targets = [a.name for a in node.names]
            for target in targets:
                if target.split(".")[0] == "reidlab" and target != "reidlab":
                    assert level(target) <= level(name), f"{name} imports {target}"


def test_every_module_imports_and_says_what_it_is():
    for info in pkgutil.walk_packages([str(ROOT)], "reidlab."):
        if info.name != "reidlab.__main__":
            importlib.import_module(info.name)
    for name, file in modules():
        if file.stat().st_size:
            assert ast.get_docstring(ast.parse(file.read_text())), f"{name} has no docstring"


def test_public_things_are_documented():
    for name, file in modules():
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{name}.{node.name} has no docstring"


def test_nothing_is_named_utils_and_files_stay_short():
    for name, file in modules():
        assert "util" not in name and "helper" not in name
        lines = len(file.read_text().splitlines())
        assert lines <= 300, f"{name} has {lines} lines; a file holds one idea"


def test_drawing_never_touches_global_state():
    for name, file in modules():
        imported = {a.name for node in ast.walk(ast.parse(file.read_text()))
                    if isinstance(node, ast.Import) for a in node.names}
        assert not any("pyplot" in i for i in imported), name


def test_twin_files_are_the_two_tasks_and_one_table_dispatches_on_them():
    twins = {file.parent.name for file in ROOT.glob("*/text_image.py")}
    assert twins == {file.parent.name for file in ROOT.glob("*/visible_infrared.py")} == {
        "config", "presets", "data", "batches", "models", "losses", "evaluation", "tasks"}
    from reidlab.tasks import TASKS
    assert list(TASKS) == ["text-image", "visible-infrared"]
    named = {name for name, file in modules() for word in (
        "isinstance(experiment, ", "TextImageExperiment.task", "VisibleInfraredExperiment.task")
        if word in file.read_text()}
    assert named <= {"reidlab.evaluation.flow", "reidlab.engine.search"}, named  # text-image only

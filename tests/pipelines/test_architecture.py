"""The rules that hold the house together, read off the sources: layers, fences, sizes, and what dvc.yaml depends on."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import lit_models
from pipelines.datasets import DATASETS

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("pipelines/**/*.py"), *ROOT.glob("lit_models/**/*.py"), *ROOT.glob("infra/**/*.py")])
STAGES = ("fetch", "prepare", "augment", "search", "train", "evaluate", "report")
MOST_LINES, MOST_FUNCTION_LINES = 300, 60

# Who may import what: a name stands for the module and everything in it.
LAYERS = {
    "lit_models": ("ray", "mlflow", "dvc", "pipelines", "infra"),
    "pipelines": ("infra",),
    "infra": ("lit_models",),
}
LAYERS["infra"] += ("pipelines",)
FENCES = {
    "mlflow": {"pipelines/tracking.py"},
    "ray": {
        *(f"pipelines/searching/{name}.py" for name in ("cohort_tuner", "cohort_trial", "tune_callback")),
        *(f"pipelines/{name}.py" for name in ("cohort_queue", "local_ray", "ray_cluster")),
    },
}
# A cloud's own libraries, each in the folder of its provider alone.
CLOUDS = {"infra/aws/": ("boto3", "botocore", "mypy_boto3"), "infra/gcp/": ("google", "googleapiclient", "httplib2")}
NOWHERE = ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "yaml")
CLOUD = ("boto3", "botocore", "google", "googleapiclient")

# What decides nothing in an out, so that no stage depends on it: tables and schema; and plumbing, which carries
# results, tells people and MLflow about them, or says where they lie.
SCHEMA = {
    f"pipelines/{name}.py"
    for name in ("params", "section", "explain", "nearest", "yaml_source", "family_faults", "machine")
}
TABLES = {
    "lit_models/__init__.py",
    "lit_models/forms.py",
    "pipelines/searchers.py",
    *(f"pipelines/{name}/__init__.py" for name in ("datasets", "augmentations", "evaluations")),
}
PLUMBING = {
    f"pipelines/{name}.py"
    for name in (
        "__init__",
        "stage",
        "interrupts",
        "startup",
        "fork_server",
        "zygote",
        "this_machine",
        "head_start",
        "server",
        "outs",
        "places",
        "locks",
        "delivery",
        "tracking",
        "journal",
        "sent",
        "turn",
        "rebuild",
        "faults",
        "lineage",
        "progress",
        "local_ray",
        "ray_cluster",
        "ray_watch",
        "ray_processes",
        "away",
        "costs",
        "search_state",
        "cohort_queue",
    )
}
# What a kind of dataset needs to write prepared data, which `fetch` does not do; and what only brings raw bytes here.
ONLY_READ = ("pipelines/formats", "lit_models/specs", "lit_models/core")
TRANSPORT = "pipelines/transport"
FAMILIES = {f"{name}.py" for name in lit_models.FAMILIES}
KINDS = {f"{kind}.py" for kind in DATASETS}


# Folders that are one dep: whoever uses some of a folder's files uses most of them.
FOLDERS = (
    *("lit_models/cohort", "lit_models/core", "lit_models/parts", "lit_models/specs"),
    *("pipelines/augmentations", "pipelines/datasets/parts", "pipelines/evaluations", "pipelines/formats"),
    "pipelines/searching",
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def nodes(path: Path, *, typing_too: bool, lazy_too: bool = True) -> Iterator[ast.AST]:
    """Every node of a file; without `lazy_too`, only what runs at import."""
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        yield node
        if is_typing_only(node) and not typing_too:
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not lazy_too:
            continue
        waiting += ast.iter_child_nodes(node)


def imports(path: Path, *, typing_too: bool = True) -> set[str]:
    """Modules that a file imports anywhere in it, and each `from x import y` as x.y too."""
    found: set[str] = set()
    for node in nodes(path, typing_too=typing_too):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} line {node.lineno}: imports are absolute here"
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            # A package that only leads to its modules is not used itself.
            found |= named if all(map(is_module, named)) else {node.module or "", *named}
    return found


def is_module(name: str) -> bool:
    return (ROOT / (name.replace(".", "/") + ".py")).is_file()


def within(module: str, names: tuple[str, ...] | set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_layers_and_fences_hold(path: Path) -> None:
    name, found = name_of(path), imports(path, typing_too=True)
    layer = name.split("/")[0]
    assert not {module for module in found if within(module, LAYERS[layer])}
    running = imports(path, typing_too=False)
    for library, allowed in FENCES.items():
        if layer == "pipelines" and name not in allowed:
            assert not {module for module in running if within(module, (library,))}
    if layer in ("pipelines", "lit_models"):
        assert not {module for module in found if within(module, CLOUD)}
    assert not {module for module in found if within(module, NOWHERE)}
    if layer == "infra":
        assert not {module for module in found if within(module, ("ray", "torch", "mlflow", "dvc"))}
        for place, libraries in CLOUDS.items():
            assert name.startswith(place) or not {module for module in found if within(module, libraries)}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_unpickled(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        where = f"{name_of(path)} line {node.lineno}: {called}"
        assert called not in ("eval", "exec", "pd.read_pickle", "pandas.read_pickle"), where
        assert called != "torch.load" or keywords.get("weights_only") == "True", where
        assert keywords.get("allow_pickle", "False") == "False", where
        assert not called.endswith("load_from_checkpoint"), where
        if called == "YAML":
            assert keywords.get("typ", "'safe'") in ("'safe'", "'rt'"), where


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_are_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MOST_FUNCTION_LINES, f"{name_of(path)}: {node.name} has {length} lines"


def test_params_py_alone_reads_the_parameters_and_the_command_its_own_section() -> None:
    readers = set()
    for path in SOURCES:
        if "pipelines.yaml_source" in imports(path):
            readers.add(name_of(path))
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and any(
                isinstance(argument, ast.Constant) and argument.value == "params.yaml" for argument in node.args
            ):
                readers.add(name_of(path))
    assert readers == {"pipelines/params.py", "infra/settings.py"}


# --- heavy imports wait -------------------------------------------------------------------------------------------

HEAVY = ("torch", "pytorch_lightning", "ray", "mlflow", "pandas", "matplotlib.pyplot", "sklearn", "scipy", "pyarrow")
PROBE = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    print(name, *sorted(set(sys.modules) & set({heavy!r})))
"""


def test_importing_a_stage_or_the_schema_imports_nothing_heavy(
    environment: Callable[[], dict[str, str]], folder: Path
) -> None:
    modules = [f"pipelines.{name}" for name in (*STAGES, "params", "tracking", "ui")]
    command = [sys.executable, "-c", PROBE.format(heavy=HEAVY), *modules]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == modules


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_explains_itself(name: str, run_module: Any, folder: Path) -> None:
    done = run_module(f"pipelines.{name}", "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: python -m pipelines.{name}" in done.stdout
    described = next(
        node.args[1].value
        for node in ast.walk(tree(ROOT / f"pipelines/{name}.py"))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "stage.main"
        and isinstance(node.args[1], ast.Constant)
    )
    assert str(described) in done.stdout
    assert "params.yaml" in done.stdout
    assert list(folder.iterdir()) == []


# --- dvc.yaml -----------------------------------------------------------------------------------------------------


def stages() -> dict[str, dict[str, Any]]:
    """dvc.yaml's stages, the bodies of generated ones."""
    written = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    return {name: body.get("do", body) for name, body in written.items()}


def project_imports(path: Path) -> set[Path]:
    """Files of ours that a file imports in order to run."""
    found = set()
    for module in imports(path, typing_too=False):
        file = ROOT / (module.replace(".", "/") + ".py")
        package = ROOT / module.replace(".", "/") / "__init__.py"
        found |= {candidate for candidate in (file, package) if module and candidate.is_file()}
    return found


def code_of(name: str) -> set[str]:
    """What decides a stage's outs: all that its module imports, apart from tables, schema and plumbing."""
    skipped = SCHEMA | PLUMBING
    folders = (TRANSPORT, *(ONLY_READ if name == "fetch" else ()))
    seen: set[str] = set()
    waiting = [ROOT / f"pipelines/{name}.py"]
    while waiting:
        path = waiting.pop()
        if name_of(path) not in seen | skipped and not name_of(path).startswith(tuple(f"{one}/" for one in folders)):
            seen.add(name_of(path))
            waiting += project_imports(path)
    found = seen - TABLES
    # A table leads to every family and dataset; which of them a stage uses, its parameters say.
    named = {"lit_models/${item.family}.py": {f"lit_models/{family}" for family in FAMILIES}}
    named["pipelines/datasets/${item.kind}.py"] = {f"pipelines/datasets/{kind}" for kind in KINDS}
    for template, files in named.items():
        if found & files:
            found = (found - files) | {template}
    # DVC writes its whole lock file after each stage, so that a dep for every file would slow down all.
    for folder in FOLDERS:
        if any(path.startswith(f"{folder}/") for path in found):
            found = {path for path in found if not path.startswith(f"{folder}/")} | {folder}
    return found


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_just_the_code_it_uses(name: str) -> None:
    written = {dep for dep in stages()[name]["deps"] if dep.endswith(".py") or dep in FOLDERS}
    code = code_of(name)
    assert written == code, f"missing: {sorted(code - written)}; too many: {sorted(written - code)}"


def test_every_file_that_dvc_yaml_names_exists() -> None:
    for name, body in stages().items():
        for dep in body["deps"]:
            if (dep.endswith(".py") or dep in FOLDERS) and "$" not in dep:
                assert (ROOT / dep).exists(), f"{name}: {dep}"


def test_stage_module_section_and_command_share_one_name() -> None:
    assert tuple(stages()) == STAGES
    for name, body in stages().items():
        assert body["cmd"] == f"python -m pipelines.{name}" + ("" if name == "report" else " ${key}")


@pytest.mark.parametrize("name", STAGES)
def test_every_out_persists(name: str) -> None:
    body = stages()[name]
    outs = [entry for kind in ("outs", "metrics", "plots") for entry in body.get(kind, [])]
    assert outs
    for out in outs:
        assert isinstance(out, dict), f"{out} lacks persist: true"
        assert next(iter(out.values())).get("persist") is True, out


SECTIONS = {
    "fetch": {"datasets.${key}.kind", "datasets.${key}.fetch"},
    "prepare": {"datasets.${key}.prepare"},
    "augment": {"datasets.${key}.augment"},
    "report": {"report", "experiments"},
}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_tracks_its_own_section_and_what_it_names(name: str) -> None:
    params = set(stages()[name]["params"])
    own = {f"experiments.${{key}}.{part}" for part in ("dataset", "family", name)}
    if name == "search":
        own.add("experiments.${key}.model")
    assert params == SECTIONS.get(name, own)

"""README.md and the other pages tell the truth: about files, commands, parameters, and in their examples."""

import inspect
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lit_models import FAMILIES
from lit_models.core.image import ImageModel
from pipelines import params_table
from pipelines.params import load
from pipelines.searching.space import Domain
from tests.conftest import ROOT
from tests.lit_models import test_families as conformance

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(f"docs/{name}.md" for name in ("architecture", "cloud", "data", "parameters", "search", "tracking")),
)
MADE_LATER = {"dvc.lock"}
TO_COME = {"lit_models/linear.py", "lit_models/cohort/"}

pages = pytest.mark.parametrize("page", PAGES)


def text(page: str = "README.md") -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(language: str, page: str = "README.md") -> list[str]:
    """The fenced blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL)


def named_in_tree() -> list[str]:
    """Paths in README's annotated tree; two spaces of indentation are one level, folders end in a slash."""
    found = re.search(r"<!-- tree:begin -->\n```\n(.*?)```\n<!-- tree:end -->", text(), re.DOTALL)
    assert found
    paths, folder = [], ""
    for line in found[1].splitlines():
        match = re.fullmatch(r"( *)(\S+) +(\S.*)", line)
        assert match, f"a line of the tree without its phrase: {line}"
        indent, name, _ = match.groups()
        assert len(indent) in (0, 2), line
        folder = folder if indent else name
        paths.append(f"{folder}{name}" if indent else name)
    return paths


def in_git() -> list[str]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listing.stdout.splitlines()


def test_tree_names_exactly_what_exists() -> None:
    named = named_in_tree()
    assert len(set(named)) == len(named)
    missing = [path for path in named if not (ROOT / path).exists() and path not in MADE_LATER]
    assert not missing, "README's tree names what does not exist"
    assert all((ROOT / path).is_dir() for path in named if path.endswith("/"))
    # At the top a person may have files of their own; what counts is what Git has.
    top = {path if "/" not in path else path.partition("/")[0] + "/" for path in in_git()}
    modules = {f"{package}/{file.name}" for package in ("pipelines", "lit_models") for file in _files(package)}
    packages = {f"{folder.parent.relative_to(ROOT)}/" for folder in ROOT.glob("pipelines/*/__init__.py")}
    existing = {path for path in top | modules | packages if (ROOT / path).exists()}
    assert existing - set(named) == set(), "README's tree lacks these; give each a phrase"


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).glob("*.py"))


def test_parameter_tables_are_up_to_date() -> None:
    page = text("docs/parameters.md")
    assert params_table.updated(page) == page, "run: python -m pipelines.params_table --write"


def test_tables_print_and_write(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["params_table"])
    assert params_table.main() == 0
    assert "| `copies` | `0` | whole, 0 to 64 |" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["params_table", "--write"])
    assert params_table.main() == 1
    assert "docs/parameters.md" in capsys.readouterr().err
    (folder / "docs").mkdir()
    (folder / "docs/parameters.md").write_text(f"before\n{params_table.BEGIN}\nyesterday\n{params_table.END}\nafter\n")
    assert params_table.main() == 0
    written = (folder / "docs/parameters.md").read_text()
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "yesterday" not in written
    assert "`datasets.<key>.augment` of kind" in written


def test_every_kind_of_domain_is_explained() -> None:
    for kind in Domain.model_fields:
        assert f"| `{kind}: [" in text()


@pages
def test_every_make_target_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    code = [*re.findall(r"^```.*?^```$", text(page), re.MULTILINE | re.DOTALL), *re.findall(r"`[^`\n]+`", text(page))]
    named = {target for snippet in code for target in re.findall(r"\bmake ([a-z]+)", snippet)}
    assert named <= targets
    if page == "README.md":
        assert {"repro", "test", "ui"} <= named


@pages
def test_every_module_that_is_run_exists(page: str) -> None:
    for module in re.findall(r"python -m ((?:pipelines|tests|infra)[\w.]*)", text(page)):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@pages
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", text(page)):
        path, _, _ = target.partition("#")
        assert ((ROOT / page).parent / path).exists(), f"{page} links to {target}"


@pages
def test_every_file_in_code_exists(page: str) -> None:
    """`pipelines/search.py` and the like, but what an example would make and what has its place only."""
    for path in re.findall(r"`((?:pipelines|lit_models|tests|docs)/[\w./]+)`", text(page)):
        assert (ROOT / path).exists() or path in TO_COME, f"{page} names {path}"


@pages
def test_every_yaml_is_valid_params(page: str, folder: Path) -> None:
    """Each example is put into params.yaml, one after the other, as a reader would."""
    yaml = YAML(typ="safe", pure=True)
    whole = yaml.load(text("params.yaml"))
    for number, block in enumerate(blocks("yaml", page)):
        _put_in(whole, yaml.load(block))
        path = folder / f"params-{number}.yaml"
        with path.open("w") as file:
            yaml.dump(whole, file)
        load(path)


def _put_in(whole: dict[str, Any], part: dict[str, Any]) -> None:
    for key, value in part.items():
        if isinstance(value, dict) and isinstance(whole.get(key), dict) and key != "space":
            _put_in(whole[key], value)
        else:
            whole[key] = value


def test_own_data_takes_five_lines() -> None:
    first = blocks("yaml")[0].splitlines()
    assert first[0] == "datasets:"
    assert len(first[1:]) == 5


def test_own_family_passes_the_conformance_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("python")
    made: dict[str, Any] = {"__name__": "lit_models.linear"}
    exec(compile(code, "README.md", "exec"), made)  # noqa: S102 - our own page
    kinds = [kind for kind in made.values() if isinstance(kind, type) and issubclass(kind, ImageModel)]
    (family,) = [kind for kind in kinds if kind is not ImageModel]
    line = re.search(r'`"(\w+)": (\w+),`', text())
    assert line
    assert line[2] == family.__name__
    monkeypatch.setitem(FAMILIES, line[1], family)
    ran = 0
    for name, test in vars(conformance).items():
        wanted = set(inspect.signature(test).parameters) if name.startswith("test_") else set()
        if wanted in ({"family"}, {"case"}):
            test(line[1])
            ran += 1
        elif wanted == {"family", "shape"}:
            for shape in conformance.SHAPES:
                test(line[1], shape)
            ran += 1
    assert ran >= 8

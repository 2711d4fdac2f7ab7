"""docs/cloud.md tells the truth: its table of settings, its commands, the files and policies that it names."""

import re
from pathlib import Path

from infra.cli import app
from infra.settings import AwsConfig, CloudConfig, GcpConfig
from pipelines.params_table import table
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "cloud.md"
MARKS = "<!-- settings:begin -->", "<!-- settings:end -->"


def settings_tables() -> str:
    """The settings, with those of each cloud below."""
    parts = {
        "`cloud`": table(CloudConfig, without=("aws", "gcp")),
        "`cloud.aws`": table(AwsConfig),
        "`cloud.gcp`": table(GcpConfig),
    }
    return "\n".join(f"\n{title}\n\n{rows.strip()}" for title, rows in parts.items()) + "\n"


def updated(page: str) -> str:
    """The page with its table made anew."""
    begin, end = MARKS
    return f"{page.split(begin)[0]}{begin}\n{settings_tables()}{end}{page.split(end)[1]}"


def test_the_table_of_settings_is_the_schema() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == updated(text), "run python -m tests.infra.refresh"


def test_every_command_is_told() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"fifty {command.callback.__name__}" in text


def test_every_file_that_is_named_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    paths = re.findall(r"`(infra/[\w./-]+)`", text)
    assert len(paths) > 3
    for path in paths:
        assert Path(ROOT, path).exists(), path

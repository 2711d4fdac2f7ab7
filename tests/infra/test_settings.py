"""The section `cloud` of params.yaml: one line per fault, with the key's path and the nearest valid key."""

from pathlib import Path

import pytest

from infra.faults import Refused
from infra.settings import CloudConfig, load

FAULTS = {
    "budget_usd: 0": "cloud.budget_usd: should be greater than 0, but it is 0",
    "budget_usd: -5": "cloud.budget_usd: should be greater than 0, but it is -5",
    "budget_usd: .nan": "cloud.budget_usd: should be a finite number, but it is nan",
    "budget_usd: .inf": "cloud.budget_usd: should be a finite number, but it is inf",
    "budget_usd: much": "cloud.budget_usd: should be a valid number, but it is 'much'",
    "budget_usd:": "cloud.budget_usd: should be a valid number, but it is empty",
    "hours: 200": "cloud.hours: should be less than or equal to 168, but it is 200",
    "wrkers: 2": "cloud.wrkers: unknown key; nearest valid key: workers",
    "workers: '2'": "cloud.workers: should be a valid integer, but it is '2'",
    "ledger: buket": "cloud.ledger: unknown value 'buket'; nearest valid value: bucket",
    "aws: {regoin: x}": "cloud.aws.regoin: unknown key; nearest valid key: region",
    "aws:": "cloud.aws: should be a mapping, but it is empty (an empty section is written {})",
    "aws: [1]": "cloud.aws: should be a mapping, but it is [1] (an empty section is written {})",
    "cluster: My_Cluster": "cloud.cluster: clouds refuse the name 'My_Cluster'; take 2 to 16 lower-case letters, "
    "digits and hyphens, a letter first",
    "cluster: a-name-that-is-too-long": "cloud.cluster: clouds refuse the name 'a-name-that-is-too-long'; take 2 to 16 "
    "lower-case letters, digits and hyphens, a letter first",
    "project: 50": "cloud.project: should be a valid string, but it is 50",
    "ssh_from: 0.0.0.0/0": "cloud.ssh_from: '0.0.0.0/0' are 4294967296 addresses; give one, as 203.0.113.7, or `auto`",
    "ssh_from: home": "cloud.ssh_from: 'home' is no IPv4 address; give one, as 203.0.113.7, or `auto`",
}


def read(folder: Path, text: str) -> CloudConfig:
    (folder / "params.yaml").write_text(text)
    return load()


@pytest.mark.parametrize("line", FAULTS)
def test_a_fault_is_one_line(line: str, folder: Path) -> None:
    with pytest.raises(Refused) as caught:
        read(folder, f"cloud:\n  {line}\n")
    assert str(caught.value) == FAULTS[line]
    assert caught.value.code == 2


def test_several_faults_are_several_lines(folder: Path) -> None:
    with pytest.raises(Refused) as caught:
        read(folder, "cloud: {budget_usd: 0, wrkers: 2, aws: {hed: x}}")
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("text", ["", "datasets: {}\n", "cloud: {}\n"])
def test_what_is_left_out_has_its_default(text: str, folder: Path) -> None:
    assert read(folder, text) == CloudConfig()


def test_faults_of_other_sections_are_others_business(folder: Path) -> None:
    assert read(folder, "datasets: nonsense\ncloud: {hours: 2}\n").hours == 2


def test_an_address_is_a_network_of_one(folder: Path) -> None:
    assert read(folder, "cloud: {ssh_from: 203.0.113.7}").ssh_from == "203.0.113.7/32"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cloud: [", r"params.yaml: line \d+, column \d+: malformed YAML"),
        ("cloud: {hours: 1}\ncloud: {hours: 2}", r"params.yaml: line 2.*duplicate key"),
        ("- 1", "should be a mapping of sections"),
        ("cloud:", r"cloud: should be a mapping, but it is empty"),
        ("cloud: 5", r"cloud: should be a mapping, but it is 5"),
    ],
)
def test_a_malformed_file_is_one_line(text: str, said: str, folder: Path) -> None:
    with pytest.raises(Refused, match=said) as caught:
        read(folder, text)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_bytes_that_are_no_text(folder: Path) -> None:
    with pytest.raises(Refused, match=r"not found in .*run it in the project's folder"):
        load()
    Path("params.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Refused, match="cannot be read"):
        load()


def test_the_projects_own_file_is_valid(root: Path) -> None:
    assert load(root / "params.yaml").budget_usd > 0

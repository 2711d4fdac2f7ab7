"""The `fifty` command from outside: it teaches, refuses wrong input in a sentence, and imports no cloud to say so."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from infra import cli, record
from infra.fake import Fake
from infra.settings import CloudConfig
from tests.infra.desk import HOME

NO_CLOUD = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


@pytest.fixture(autouse=True)
def _alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, and a folder with a valid params.yaml."""
    monkeypatch.setattr("infra.interrupts.install", lambda: None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in NO_CLOUD.items():
        monkeypatch.setenv(name, value)
    section("")


def section(lines: str) -> None:
    Path("params.yaml").write_text(f"cloud:\n  ssh_from: {HOME}\n{lines}")


@pytest.fixture
def fifty(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process; returns exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fifty", *arguments])
        try:
            code = cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


Fifty = Callable[..., tuple[int, str, str]]


def fake() -> Fake:
    return Fake(CloudConfig(), record.folder().parent / "fake-cloud.json")


@pytest.mark.parametrize("command", [(), ("plan",), ("up",), ("status",), ("down",), ("reap",), ("extend",)])
def test_help_teaches_and_loads_nothing(command: tuple[str, ...], environment: Callable[[], dict[str, str]]) -> None:
    code = (
        "import sys, infra.cli\n"
        f"sys.argv = ['fifty', *{command!r}, '--help']\n"
        "try: infra.cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'boto3', 'botocore', 'ray', 'google', 'googleapiclient', 'torch', 'rich', 'numpy'}\n"
        "assert not heavy & {name.split('.')[0] for name in sys.modules}, heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    assert "Usage: fifty" in done.stdout
    if not command:
        for word in ("fifty plan aws", "fifty down", "params.yaml", "Exit codes"):
            assert word in done.stdout


def test_every_command_says_what_it_does_in_the_list(fifty: Fifty) -> None:
    _, out, _ = fifty("--help")
    listed = out.split("Commands:")[1]
    assert "..." not in listed
    assert [line.split()[0] for line in listed.strip().splitlines()] == [
        "plan",
        "up",
        "status",
        "down",
        "reap",
        "extend",
    ]


def test_the_whole_loop(fifty: Fifty) -> None:
    code, out, err = fifty("up", "fake")
    assert (code, err) == (0, ""), err
    for line in (
        "ssh -i .fifty/cloud/main.pem",
        "-L 8265:127.0.0.1:8265 -L 5000:127.0.0.1:5000",
        "-m pipelines.search",
    ):
        assert line in out
    code, out, err = fifty("status")
    assert (code, err) == (0, "")
    assert "head" in out
    assert "reserved by running ones" in out
    code, out, err = fifty("extend", "1.5")
    assert (code, err) == (0, "")
    assert "off on" in out
    code, out, err = fifty("reap", "--all-regions")
    assert (code, out, err) == (0, "nothing past its deadline is left in any region\n", "")
    code, out, err = fifty("down")
    assert (code, err) == (0, "")
    assert out.endswith("nothing of cluster main is left in nowhere\n")
    assert fifty("down", "fake")[0] == 0
    assert not record.file("main").exists()


@pytest.mark.parametrize("command", [("status",), ("up",), ("extend", "1"), ("reap",), ("down",), ("plan", "fake")])
def test_every_command_begins_with_what_is_past_its_deadline(command: tuple[str, ...], fifty: Fifty) -> None:
    assert fifty("up", "fake")[0] == 0
    fake().trouble(undying=True)
    with fake().state.changing("") as state:
        for node in list(state.nodes.values()):
            state.nodes[node.id] = replace(node, deadline=node.launched)
    _, _, err = fifty(*command)
    assert err.startswith("fifty: past its deadline for ")
    assert "1 machine of cluster main in nowhere; `fifty reap` removes it" in err


BAD = {
    "budget_usd: 0": "cloud.budget_usd: should be greater than 0",
    "budget_usd: -1": "cloud.budget_usd: should be greater than 0",
    "budget_usd: .nan": "cloud.budget_usd: should be a finite number",
    "budget_usd: 0.01": "budget",
    "cluster: Bad_Name": "clouds refuse the name 'Bad_Name'",
    "project: '-x-'": "clouds refuse the name '-x-'",
    "ssh_from: 0.0.0.0/0": "addresses; give one",
    "wrokers: 3": "unknown key; nearest valid key: workers",
    "gpus: 9": "no machine there has",
    "hours: 0": "cloud.hours: should be greater than 0",
    "hours: 0.1": "0.1 hours are over before machines are set up",
}


@pytest.mark.parametrize("line", BAD)
def test_wrong_settings_are_refused_before_anything(line: str, fifty: Fifty) -> None:
    name = line.split(":")[0]
    Path("params.yaml").write_text(f"cloud:\n  {line}\n" + (f"  ssh_from: {HOME}\n" if name != "ssh_from" else ""))
    code, _, err = fifty("up", "fake")
    assert code == 2
    assert BAD[line] in err
    assert err.count("\n") == 1
    assert_nothing_begun()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"credentials": "missing"}, "credentials are missing"),
        ({"credentials": "expired"}, "credentials are expired"),
        ({"quota": 0}, "quota is 0 GPUs"),
        ({"fail": {"offers": 1}}, "offers failed"),
        ({"fail": {"inventory": 2}}, "inventory failed"),
    ],
)
def test_a_cloud_that_refuses(trouble: dict[str, object], said: str, fifty: Fifty) -> None:
    fake().trouble(**trouble)
    code, _, err = fifty("up", "fake")
    assert code == (1 if "fail" in trouble else 2)
    assert said in err
    assert_nothing_begun()


def test_an_open_key_file_is_refused(fifty: Fifty) -> None:
    record.write(record.file("main", ".pem"), b"x")
    record.file("main", ".pem").chmod(0o644)
    code, _, err = fifty("up", "fake")
    assert code == 2
    assert "chmod 600" in err
    assert_nothing_begun()


def assert_nothing_begun() -> None:
    fake().trouble(credentials="", quota=None, fail={})
    state = fake().state.look()
    assert (state.nodes, state.leftovers, state.events) == ({}, {}, [])
    assert not record.file("main").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("up", "azure"), "there is no cloud 'azure'; there are aws, gcp, fake"),
        (("plan", "azure"), "there is no cloud 'azure'"),
        (("extend", "1", "fake"), "there is no record of cluster main here"),
    ],
)
def test_wrong_arguments_are_a_sentence(arguments: tuple[str, ...], said: str, fifty: Fifty) -> None:
    code, _, err = fifty(*arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [("extend",), ("extend", "soon"), ("upp",), ("up", "--fast")])
def test_what_cannot_be_understood_shows_the_usage(arguments: tuple[str, ...], fifty: Fifty) -> None:
    code, _, err = fifty(*arguments)
    assert code == 2
    assert "Usage:" in err


def test_a_cluster_on_another_cloud_is_not_mixed_up(fifty: Fifty) -> None:
    assert fifty("up", "fake")[0] == 0
    for command in (("up", "aws"), ("down", "aws"), ("extend", "1", "aws")):
        code, _, err = fifty(*command)
        assert (code, err.count("\n")) == (2, 1)
        assert "cluster main is on fake; end it there (`fifty down fake`)" in err
    assert record.file("main").exists()


@pytest.mark.parametrize("cloud", [("aws",), ("gcp",), ()])
def test_a_plan_from_the_table_needs_no_cloud(cloud: tuple[str, ...], fifty: Fifty) -> None:
    code, out, err = fifty("plan", *cloud, "--table")
    assert (code, err) == (0, "")
    for line in ("Chosen: 1 head", "at worst, and so much is reserved", "list prices", "Left out: traffic"):
        assert out.count(line) == (len(cloud) or 2)
    assert not Path(".fifty").exists()


def test_a_plan_without_credentials_says_so_and_takes_the_table(fifty: Fifty) -> None:
    code, out, _ = fifty("plan", "aws")
    assert code == 0
    assert out.startswith("aws cannot be asked, so that nothing is known of what runs there: ")
    assert "list prices" in out


def test_a_plan_of_a_cloud_that_answers(fifty: Fifty) -> None:
    code, out, err = fifty("plan", "fake")
    assert (code, err) == (0, "")
    assert "the fake cloud's price list" in out
    assert fake().state.look().calls.get("launch") is None


def test_a_measured_throughput_ranks(fifty: Fifty) -> None:
    section("  throughput: {g5.xlarge: 900.0, g4dn.xlarge: 100.0}\n")
    _, out, _ = fifty("plan", "aws", "--table")
    assert "at most, g5.xlarge" in out


def test_where_one_cloud_has_no_machine_the_other_is_shown(fifty: Fifty) -> None:
    section("  gcp: {worker: nonsense}\n")
    code, out, err = fifty("plan", "--table")
    assert code == 0
    assert "Prices of aws" in out
    assert err.startswith("fifty: gcp: there is no machine 'nonsense'")


def test_a_fault_of_our_own_is_a_sentence_and_its_traceback_a_file(
    fifty: Fifty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.status.status", lambda *_, **__: 1 / 0)
    code, _, err = fifty("status", "fake")
    assert code == 1
    assert "unexpected ZeroDivisionError: division by zero; the traceback is in" in err
    assert "Traceback" not in err
    assert "1 / 0" in record.file("fifty", ".log").read_text()


def test_the_own_address_is_asked_for_over_https(monkeypatch: pytest.MonkeyPatch) -> None:
    from io import BytesIO

    from infra import context
    from infra.faults import Refused

    asked: list[str] = []

    def answer(body: bytes) -> None:
        def urlopen(url: str, timeout: float) -> BytesIO:
            asked.append(url)
            return BytesIO(body)

        monkeypatch.setattr("urllib.request.urlopen", urlopen)

    answer(b"203.0.113.9\n")
    assert context.own_address() == "203.0.113.9/32"
    assert asked == ["https://checkip.amazonaws.com"]
    answer(b"<html>log in</html>")
    with pytest.raises(Refused, match=r"set `cloud.ssh_from`"):
        context.own_address()

"""Sending to MLflow: everything arrives, once, whatever dies; and no server, however bad, stands in training's way."""

import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import socketserver
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import delivery, journal, places, rebuild, tracking
from pipelines import server as server_of
from pipelines.delivery import Delivery, send_outbox, unsent
from pipelines.journal import NAME, Journal
from pipelines.turn import Taken, Turn

Environment = Callable[[], dict[str, str]]
VERSION = {"data.prepared": "p1", "val_accuracy": "0.9", "val_loss": "0.3"}


@pytest.fixture(autouse=True)
def _in(folder: Path) -> None:
    """Every test here has an outbox of its own."""


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with MLflow's tables, which take seconds to make."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    tracking._client(f"sqlite:///{database}")
    return database


@pytest.fixture(scope="session")
def server(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server."""
    home = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, home / "mlflow.db")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += [
        "--backend-store-uri",
        f"sqlite:///{home / 'mlflow.db'}",
        "--artifacts-destination",
        str(home / "files"),
    ]
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **settings}, cwd=home, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


@pytest.fixture
def sqlite(empty_database: Path) -> str:
    """The default: SQLite in the working folder's `mlruns`."""
    Path("mlruns").mkdir()
    shutil.copy(empty_database, "mlruns/mlflow.db")
    return tracking.uri()


@pytest.fixture(params=["sqlite", "server"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of tracking store in turn."""
    found = str(request.getfixturevalue(request.param))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found)
    return found


def write_search(name: str, trials: int = 2, epochs: int = 3, model: dict[str, str] | None = None) -> Path:
    """Journal a search as the stages do: a parent, trials under it, and everything that can be recorded."""
    Path("made").mkdir(exist_ok=True)
    Path("made/best.yaml").write_text(f"trial: 0 # {name}\n")
    Path("made/package").mkdir(exist_ok=True)
    Path("made/package/MLmodel").write_text("flavors: {}\n")
    with Journal(f"search@{name}") as book:
        parent = book.start(name, "search", {"stage": "search", "git.commit": "abc"})
        book.params(parent, {"trials": trials, "space.lr": "loguniform: [0.1, 1.0]"})
        book.dataset(parent, "digits", "d41d.dir", "data/prepared/digits", "training")
        for number in range(trials):
            run = book.start(name, f"trial-{number:04d}", {"trial": str(number)}, parent=parent)
            book.params(run, {f"p{i}": i for i in range(130)})
            for epoch in range(1, epochs + 1):
                book.metrics(run, epoch, {"val_loss": 1 / epoch, "val_accuracy": epoch / 10 + number})
            book.tags(run, {"status": "finished"})
            book.end(run)
        book.artifact(parent, Path("made/best.yaml"), "best.yaml")
        book.artifact(parent, Path("made/best.yaml"), "plots/deep/best.yaml")
        book.artifact(parent, Path("made/package"), "package")
        if model is not None:
            book.model(parent, "package", f"model-{name}", model)
        book.end(parent)
    return book.folder


def told(file: Path) -> dict[str, Any]:
    """What MLflow must know after a journal, worked out from its events alone."""
    runs: dict[str, Any] = {}
    for event in journal.events(file):
        if event["event"] == "start":
            runs[event["run"]] = {
                "name": event["name"],
                "parent": event["parent"],
                "began": event["time"],
                "tags": dict(event["tags"]),
                "params": {},
                "metrics": [],
                "files": {},
                "data": [],
            }
            continue
        run = runs[event["run"]]
        match event["event"]:
            case "params" | "tags":
                run[event["event"]].update(event[event["event"]])
            case "metrics":
                run["metrics"] += [(n, event["step"], v, event["time"]) for n, v in event["metrics"].items()]
            case "artifact":
                source = file.parent / "files" / event["path"]
                files = [path for path in source.rglob("*") if path.is_file()] if source.is_dir() else [source]
                base = file.parent / "files"
                run["files"].update({path.relative_to(base).as_posix(): path.read_text() for path in files})
            case "dataset":
                run["data"].append((event["name"], event["digest"], event["context"]))
            case "end":
                run["status"], run["ended"] = event["status"], event["time"]
    for run in runs.values():
        run["metrics"].sort()
    return runs


def known(experiment: str) -> dict[str, Any]:
    """What MLflow knows of an experiment, by our runs' keys."""
    client = tracking._client(tracking.uri())
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return {}
    runs = list(client.search_runs([found.experiment_id], max_results=1000))
    by_id = {run.info.run_id: run.data.tags[tracking.RUN_TAG] for run in runs}
    assert len(set(by_id.values())) == len(by_id), "a run is there twice"
    return {by_id[run.info.run_id]: known_run(client, run, by_id) for run in runs}


def known_run(client: Any, run: Any, by_id: dict[str, str]) -> dict[str, Any]:
    tags = {name: value for name, value in run.data.tags.items() if not name.startswith(("mlflow.", "fifty."))}
    points = [
        (name, point.step, point.value, point.timestamp)
        for name in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, name)
    ]
    data = [
        (
            entry.dataset.name,
            entry.dataset.digest,
            {tag.key: tag.value for tag in entry.tags}["mlflow.data.context"],
        )
        for entry in run.inputs.dataset_inputs
    ]
    return {
        "name": run.info.run_name,
        "parent": by_id.get(run.data.tags.get("mlflow.parentRunId", "")),
        "began": run.info.start_time,
        "ended": run.info.end_time,
        "status": run.info.status,
        "tags": tags,
        "params": dict(run.data.params),
        "metrics": sorted(points),
        "files": dict(artifacts(client, run.info.run_id, "")),
        "data": data,
    }


def artifacts(client: Any, run: str, path: str) -> Iterator[tuple[str, str]]:
    for entry in client.list_artifacts(run, path):
        if entry.is_dir:
            yield from artifacts(client, run, entry.path)
        else:
            with TemporaryDirectory() as folder:
                yield entry.path, Path(client.download_artifacts(run, entry.path, folder)).read_text()


def unique() -> str:
    return f"x-{uuid.uuid4().hex[:8]}"


def kept(folder: Path) -> Path:
    """A copy of a journal that outlives its sending."""
    copy = Path("kept") / folder.name
    shutil.copytree(folder, copy)
    return copy / NAME


# --- everything arrives, once -------------------------------------------------------------------------------------


def test_everything_that_is_journaled_arrives_and_the_outbox_is_empty_then(address: str) -> None:
    name = unique()
    file = kept(write_search(name, model=VERSION))
    send_outbox()
    assert known(name) == told(file)
    assert unsent() == []
    client = tracking._client(address)
    version = client.get_model_version_by_alias(f"model-{name}", tracking.CHAMPION)
    assert version.tags == VERSION
    assert version.source.endswith("/artifacts/package")


def test_sending_twice_changes_nothing(address: str) -> None:
    name = unique()
    file = kept(write_search(name, model=VERSION))
    for _ in range(2):
        tracking.Sender(file.parent / "files", None).send(file)
    assert known(name) == told(file)
    assert len(tracking._client(address).search_model_versions(f"name='model-{name}'")) == 1


def test_what_is_written_while_a_stage_works_is_sent_meanwhile(sqlite: str) -> None:
    with Journal("search@x") as book:
        run = book.start("x", "search", {})
        book.metrics(run, 1, {"loss": 0.5})
        send_outbox()
        (found,) = known("x").values()
        assert (found["status"], len(found["metrics"])) == ("RUNNING", 1)
        book.metrics(run, 2, {"loss": 0.25})
        book.end(run)
    file = kept(book.folder)
    send_outbox()
    assert known("x") == told(file)


def test_delivery_sends_from_the_background_and_is_silent_when_all_is_well(
    sqlite: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Delivery():
        file = kept(write_search("x"))
    assert capsys.readouterr() == ("", "")
    assert known("x") == told(file)
    assert unsent() == []


class Killed(BaseException):
    """Stands for `kill -9`: nothing that runs afterwards may count on `except Exception`."""


CALLS = ["create_experiment", "create_run", "log_batch", "log_inputs", "log_artifact", "log_artifacts"]
CALLS += ["create_registered_model", "create_model_version", "set_registered_model_alias", "set_terminated"]


@contextlib.contextmanager
def dying_after(calls: int, names: list[str] = CALLS) -> Iterator[list[str]]:
    """The sender dies right after its n-th call that changes something, before it can remember anything."""
    client = tracking._client(tracking.uri())
    done: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            answer = real(*args, **kwargs)
            done.append(name)
            if len(done) == calls:
                raise Killed
            return answer

        return call

    with pytest.MonkeyPatch.context() as patch:
        for call in names:
            patch.setattr(client, call, counted(call, getattr(client, call)))
        yield done


def test_a_sender_that_dies_after_any_of_its_calls_sends_nothing_twice_and_loses_nothing(sqlite: str) -> None:
    survived = False
    number = 0
    while not survived:
        number += 1
        name = f"x{number}"
        file = kept(write_search(name, trials=1, epochs=2, model=VERSION))
        with dying_after(number) as done, contextlib.suppress(Killed):
            send_outbox()
            survived = True
        send_outbox()
        assert known(name) == told(file), f"died after {done}"
        client = tracking._client(sqlite)
        (version,) = client.search_model_versions(f"name='model-{name}'")
        crowned = client.get_model_version_by_alias(f"model-{name}", tracking.CHAMPION)
        assert crowned.version == version.version
    assert number > 10


def test_a_run_that_was_made_and_not_remembered_is_found_in_whichever_chunk_it_stands(
    sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "CHUNK", 3)
    for number in (2, 3, 4):
        name = f"x{number}"
        file = kept(write_search(name, trials=3, epochs=2))
        with dying_after(number, ["create_run"]), pytest.raises(Killed):
            send_outbox()
        send_outbox()
        assert known(name) == told(file)


def test_a_journal_whose_memory_was_lost_is_sent_again_to_the_same_runs(sqlite: str) -> None:
    with Journal("search@x") as book:
        run = book.start("x", "search", {})
        for number in range(3):
            book.end(book.start("x", f"trial-{number}", {}, parent=run))
        send_outbox()
        (book.folder / "sent.jsonl").unlink()
        book.metrics(run, 1, {"loss": 0.5})
        send_outbox()
        book.end(run)
    file = kept(book.folder)
    send_outbox()
    assert known("x") == told(file)


def test_a_database_that_was_deleted_meanwhile_gets_everything(sqlite: str, empty_database: Path) -> None:
    Path("running.json").touch()
    with Journal("search@x", resumable=Path("running.json")) as book:
        book.start("x", "search", {})
    send_outbox()
    tracking._client.cache_clear()
    shutil.copy(empty_database, "mlruns/mlflow.db")
    with Journal.reopen(book.folder) as again:
        run = next(iter(again.history()))
        again.metrics(run, 1, {"loss": 0.5})
        again.end(run)
        with pytest.raises(Exception, match="not found"):
            send_outbox()
        send_outbox()
        assert known("x") == told(book.folder / NAME)


# --- each event is read and sent once -----------------------------------------------------------------------------


def test_a_poll_reads_only_what_is_new(sqlite: str) -> None:
    outbox = delivery.Outbox()
    with Journal("search@x") as book:
        run = book.start("x", "search", {})
        for step in range(50):
            book.metrics(run, step, {"loss": 1.0})
        outbox.send()
        file = book.folder / NAME
        expected = told(file)
        with file.open("r+b") as old:  # whoever reads it again, fails
            old.write(b"x" * (file.stat().st_size - 1))
        outbox.send()
        book.metrics(run, 50, {"loss": 0.5})
        (event,) = (event for event, _ in journal.lines(file, memory(book.folder)[-1]["offset"]))
        outbox.send()
        send_outbox()
        assert memory(book.folder)[-1]["offset"] == file.stat().st_size
        expected[run]["metrics"] = sorted([*expected[run]["metrics"], ("loss", 50, 0.5, event["time"])])
        (found,) = known("x").values()
        assert found["metrics"] == expected[run]["metrics"]


def memory(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "sent.jsonl").read_text().splitlines()]


def test_runs_are_looked_up_by_the_chunk_and_remembered_once(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "CHUNK", 50)
    client = tracking._client(sqlite)
    searches: list[str] = []
    real = client.search_runs
    with Journal("search@x") as book, monkeypatch.context() as patch:
        parent = book.start("x", "search", {})
        for number in range(60):
            book.end(book.start("x", f"trial-{number}", {}, parent=parent))
        patch.setattr(client, "search_runs", lambda *args, **kwargs: searches.append("") or real(*args, **kwargs))
        send_outbox()
        assert len(searches) == 3, "121 events are three chunks"
        remembered = [run for line in memory(book.folder) for run in line.get("ids", {})]
        assert sorted(remembered) == sorted(told(book.folder / NAME))
        assert len(known("x")) == 61


def test_a_journal_that_may_go_on_is_kept_until_its_state_is_gone(sqlite: str) -> None:
    """As when the search is killed after it has forgotten its results, before it could release its journal."""
    Path("running.json").touch()
    with Journal("search@x", resumable=Path("running.json")) as book:
        run = book.start("x", "search", {})
        book.end(run)
    file = kept(book.folder)
    outbox = delivery.Outbox()
    for _ in range(2):
        outbox.send()
        assert unsent() == [book.folder]
        assert known("x") == told(file)
    Path("running.json").unlink()
    outbox.send()
    assert unsent() == []
    assert known("x") == told(file)


# --- several processes and one database ---------------------------------------------------------------------------


SENDER = """
import sys, time
from pathlib import Path
from pipelines import delivery, tracking
tracking._client(tracking.uri())
Path("ready-" + sys.argv[1]).touch()
while not Path("go").exists():
    time.sleep(0.005)
while delivery.unsent():
    delivery.send_outbox(patience=30)
    time.sleep(0.05)
"""


@contextlib.contextmanager
def together(programs: dict[str, str], environment: Environment) -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    """Processes that begin their work at the same moment; each is given its name."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started = {
        name: subprocess.Popen([sys.executable, "-c", program, name], env=environment(), **pipes)
        for name, program in programs.items()
    }
    try:
        deadline = time.monotonic() + 60
        while not all(Path(f"ready-{name}").exists() for name in programs) and time.monotonic() < deadline:
            time.sleep(0.02)
        Path("go").touch()
        yield started
    finally:
        for process in started.values():
            process.kill()
            process.communicate()


def test_two_processes_that_send_at_once_send_nothing_twice(sqlite: str, environment: Environment) -> None:
    files = [kept(write_search(name, trials=3)) for name in ("x1", "x2", "x3")]
    with together({"a": SENDER, "b": SENDER}, environment) as started:
        assert [process.communicate(timeout=60)[0] for process in started.values()] == ["", ""]
    assert unsent() == []
    assert [known(f"x{n}") for n in (1, 2, 3)] == [told(file) for file in files]


def test_a_sender_killed_for_real_sends_nothing_twice(sqlite: str, environment: Environment) -> None:
    files = [kept(write_search(name, trials=6)) for name in ("x1", "x2")]
    with together({"a": SENDER}, environment) as started:
        time.sleep(0.15)
        started["a"].send_signal(signal.SIGKILL)
    send_outbox()
    assert [known(name) for name in ("x1", "x2")] == [told(file) for file in files]


STAGE = """
import sys, time
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from pipelines import tracking
from pipelines.delivery import Delivery
from pipelines.journal import Journal
@event.listens_for(Engine, "handle_error")
def tell(context):
    if "locked" in str(context.original_exception):
        print("a lock was met", flush=True)
name = sys.argv[1]
tracking._client(tracking.uri())
Path("ready-" + name).touch()
while not Path("go").exists():
    time.sleep(0.005)
with Delivery(grace=200), Journal("search@" + name) as book:
    parent = book.start(name, "search", {})
    for number in range(8):
        run = book.start(name, f"trial-{number:04d}", {"trial": str(number)}, parent=parent)
        book.params(run, {"lr": number})
        for epoch in range(30):
            book.metrics(run, epoch, {"val_loss": 1 / (epoch + 1)})
        book.end(run)
        time.sleep(0.1)
    book.end(parent)
    book.save(Path(name + ".jsonl"))
"""
# MLflow waits 20 s for SQLite's lock; these do not wait at all, so that any two that write at once meet it.
IMPATIENT = """
from sqlalchemy import event
from sqlalchemy.engine import Engine
@event.listens_for(Engine, "before_cursor_execute", retval=True)
def hasten(connection, cursor, statement, values, *_):
    return statement.replace("busy_timeout = 20000", "busy_timeout = 0"), values
"""
READER = """
import sys, time
from pathlib import Path
from pipelines import tracking
client = tracking._client(tracking.uri())
Path("ready-" + sys.argv[1]).touch()
seen = 0
while not Path("stop").exists():
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id], max_results=100):
            seen += len(client.get_metric_history(run.info.run_id, "val_loss"))
print(seen > 0)
"""


@pytest.mark.parametrize("read", [False, True], ids=["alone", "read"])
def test_stages_that_send_to_one_database_at_once_meet_no_lock(
    sqlite: str, environment: Environment, read: bool
) -> None:
    names = ("x1", "x2", "x3")
    programs = {**dict.fromkeys(names, STAGE), "reader": READER} if read else dict.fromkeys(names, IMPATIENT + STAGE)
    with together(programs, environment) as started:
        said = {name: started[name].communicate(timeout=200)[0] for name in names}
        Path("stop").touch()
        if read:
            assert started["reader"].communicate(timeout=60)[0] == "True\n"
    assert said == dict.fromkeys(names, "")
    assert [process.returncode for process in started.values()] == [0] * len(programs)
    assert unsent() == []
    for name in names:
        assert known(name) == told(Path(f"{name}.jsonl"))


def test_a_poll_passes_over_when_another_process_sends_and_the_end_waits_for_it(
    sqlite: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(delivery, "POLL_SECONDS", 0.05)
    with Turn(sqlite) as other:
        other.take()
        file = kept(write_search("x"))
        with pytest.raises(Taken):
            send_outbox()
        assert known("x") == {}
        timer = threading.Timer(1.0, other.__exit__, (None, None, None))
        with Delivery(grace=30):
            timer.start()
        timer.join()
    assert capsys.readouterr() == ("", "")
    assert known("x") == told(file)
    assert unsent() == []


def test_who_waits_in_vain_for_another_process_is_told_so(sqlite: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Turn(sqlite) as other:
        other.take()
        write_search("x")
        with Delivery(grace=2):
            pass
    said = capsys.readouterr().err
    assert "1 journal(s) are not sent" in said
    assert "another process is sending to the same database" in said
    assert "Nothing is lost" in said


def test_a_reader_that_locks_the_database_for_longer_than_mlflow_waits_is_outlived(
    sqlite: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """MLflow waits 20 s for a lock; here 0.02 s."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    met: list[str] = []
    tracking._client(sqlite)
    file = kept(write_search("x"))
    reader = sqlite3.connect("mlruns/mlflow.db", isolation_level=None)

    def hasten(_: Any, __: Any, statement: str, values: Any, *___: Any) -> tuple[str, Any]:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 20"), values

    def note(context: Any) -> None:
        if "locked" in str(context.original_exception):
            met.append(str(context.original_exception))
            if len(met) == 2:
                reader.execute("ROLLBACK")

    event.listen(Engine, "before_cursor_execute", hasten, retval=True)
    event.listen(Engine, "handle_error", note)
    try:
        reader.execute("BEGIN EXCLUSIVE")
        assert rebuild.sync(params_of()) == 0
    finally:
        event.remove(Engine, "before_cursor_execute", hasten)
        event.remove(Engine, "handle_error", note)
        reader.close()
    assert len(met) == 2
    assert capfd.readouterr() == ("", "")
    assert known("x") == told(file)


def test_a_journal_of_a_killed_writer_is_closed_and_sent(sqlite: str) -> None:
    folder = write_search("x", trials=1)
    lines = (folder / NAME).read_text().splitlines(keepends=True)
    (folder / NAME).write_text("".join(lines[:-1]) + lines[-1][:20])
    send_outbox()
    statuses = {run["name"]: run["status"] for run in known("x").values()}
    assert statuses == {"search": "KILLED", "trial-0000": "FINISHED"}


# --- servers that are down, slow or full --------------------------------------------------------------------------


@contextlib.contextmanager
def answering(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    """A server of our own on loopback."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as made:
        made.daemon_threads = True
        made.block_on_close = False
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_address[1]}"
        finally:
            made.shutdown()
            thread.join()


def full(status: int) -> type[http.server.BaseHTTPRequestHandler]:
    class Full(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = b"disk full\n"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    return Full


def silent(released: threading.Event) -> type[socketserver.BaseRequestHandler]:
    class Silent(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            """Takes the request and does not answer."""
            self.request.recv(1 << 16)
            released.wait(30)

    return Silent


def search_beside(address: str, monkeypatch: pytest.MonkeyPatch, grace: float) -> tuple[Path, float, float]:
    """Journal a search while `address` is the server: a copy, the slowest call and the wait at the end, in seconds."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    slowest = 0.0
    with Delivery(grace):
        with Journal("search@x") as book:
            run = book.start("x", "search", {})
            for step in range(40):
                began = time.perf_counter()
                book.metrics(run, step, {"loss": 1 / (step + 1)})
                slowest = max(slowest, time.perf_counter() - began)
                time.sleep(0.02)
            book.end(run)
        file = kept(book.folder)
        began = time.perf_counter()
    return file, slowest, time.perf_counter() - began


def arrives_later(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert len(unsent()) == 1
    send_outbox()
    assert unsent() == []
    assert known("x") == told(file)


def test_a_server_that_is_down_costs_nothing_and_loses_nothing(
    sqlite: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    file, slowest, wait = search_beside(address, monkeypatch, grace=8)
    said = capsys.readouterr().err
    assert slowest < 0.5
    assert wait < 8
    assert said.startswith(f"tracking: 1 journal(s) are not sent to {address} yet (")
    assert "Nothing is lost" in said
    assert "python -m pipelines.tracking" in said
    arrives_later(file, monkeypatch)


@pytest.mark.parametrize("status", [500, 507])
def test_a_server_that_is_full_costs_nothing_and_loses_nothing(
    sqlite: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    with answering(full(status)) as address:
        file, slowest, wait = search_beside(address, monkeypatch, grace=8)
    said = capsys.readouterr().err
    assert slowest < 0.5
    assert wait < 8
    assert f"{status}" in said.splitlines()[0]
    arrives_later(file, monkeypatch)


def test_a_server_that_does_not_answer_is_waited_for_no_longer_than_the_grace(
    sqlite: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    released = threading.Event()
    with answering(silent(released)) as address:
        before = set(threading.enumerate())
        file, slowest, wait = search_beside(address, monkeypatch, grace=1)
        said = capsys.readouterr().err
        assert slowest < 0.5
        assert 0.9 < wait < 1.6
        assert "no answer within 1 s" in said
        released.set()
        for thread in set(threading.enumerate()) - before:
            if thread.name == "delivery":
                thread.join(20)
                assert not thread.is_alive()
    arrives_later(file, monkeypatch)


@pytest.mark.parametrize(("took", "rest"), [(0.0, 1.0), (0.05, 1.0), (0.2, 1.8), (3.0, 10.0)])
def test_what_takes_long_is_sent_the_more_rarely(took: float, rest: float) -> None:
    assert delivery._rest(took) == pytest.approx(rest)


def test_what_is_whole_is_sent_at_once(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "POLL_SECONDS", 600.0)
    monkeypatch.setattr(delivery, "MOST_POLL_SECONDS", 600.0)
    rounds = threading.Semaphore(0)
    real = delivery.Outbox.send

    def counted(self: delivery.Outbox, patience: float = 0.0) -> None:
        real(self, patience)
        rounds.release()

    monkeypatch.setattr(delivery.Outbox, "send", counted)
    with Delivery() as sending:
        assert rounds.acquire(timeout=30), "it begins with what there is"
        file = kept(write_search("x"))
        sending.hasten()
        assert rounds.acquire(timeout=30)
        assert known("x") == told(file)


def test_a_server_in_trouble_is_left_its_time(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.5,))
    tries = []

    def failing(self: Any, file: Path, patience: float) -> None:
        tries.append(time.monotonic())
        raise ConnectionError("down")

    monkeypatch.setattr(tracking.Sender, "send", failing)
    write_search("x")
    with Delivery() as sending:
        while len(tries) < 3:
            sending.hasten()
            time.sleep(0.01)
    assert min(later - sooner for sooner, later in pairwise(tries[:3])) > 0.4


def test_a_server_that_comes_back_gets_everything(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", (0.05,))
    monkeypatch.setattr(delivery, "POLL_SECONDS", 0.05)
    calls = 0
    real = tracking.Sender.send

    def flaky(self: Any, file: Path, patience: float) -> None:
        nonlocal calls
        calls += 1
        if calls <= 3:
            raise ConnectionError("down")
        real(self, file, patience)

    monkeypatch.setattr(tracking.Sender, "send", flaky)
    with Delivery():
        file = kept(write_search("x"))
        time.sleep(0.5)
    assert known("x") == told(file)
    assert unsent() == []


def test_a_journal_that_was_begun_on_another_server_is_sent_whole_to_the_new_one(
    sqlite: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = unique()
    with Journal("s") as book:
        run = book.start(name, "n", {})
        book.metrics(run, 1, {"loss": 0.5})
        send_outbox()
        book.end(run)
    file = kept(book.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    send_outbox()
    assert known(name) == told(file)


# --- passwords ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:pa%40ss@host:5000/x", "http://host:5000/x"),
        ("http://token@host", "http://host"),
        ("https://host/a@b", "https://host/a@b"),
        ("postgresql://me:secret@host/db", "postgresql://host/db"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
    ],
)
def test_the_servers_address_is_shown_without_user_and_password(
    monkeypatch: pytest.MonkeyPatch, address: str, shown: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert server_of.shown_uri() == shown


def test_a_password_is_neither_printed_nor_written(
    server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    name = unique()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.replace("http://", "http://me:s3cret@"))
    with Journal("s") as book:
        book.start(name, "n", {})
        send_outbox()
        assert (book.folder / "sent.jsonl").exists()
        written = [path.read_text() for path in Path().rglob("*") if path.is_file()]
        assert not [text for text in written if "s3cret" in text]
    assert known(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:s3cret@127.0.0.1:{free_port()}")
    with Delivery(grace=8):
        write_search("x")
    write_params()
    assert rebuild.main([]) == 1
    said = capfd.readouterr()
    assert "127.0.0.1" in said.err
    assert "s3cret" not in said.err + said.out
    assert "me:" not in said.err + said.out


def write_params() -> None:
    shutil.copy(Path(__file__).parents[2] / "params.yaml", "params.yaml")


# --- rebuilding from the outs -------------------------------------------------------------------------------------


def params_of(*experiments: str) -> Any:
    """As much of Params as `sync` reads."""
    return SimpleNamespace(experiments=dict.fromkeys(experiments))


def write_outs(name: str) -> dict[str, Any]:
    """The three outs with journals of one experiment, and what MLflow must know of them."""
    expected: dict[str, Any] = {}
    for out in (places.results(name) / "search", places.model(name), places.results(name)):
        folder = write_search(name, trials=1, model=VERSION if out == places.model(name) else None)
        out.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / NAME, out / NAME)
        shutil.copytree(folder / "files", out, dirs_exist_ok=True)
        expected |= told(folder / NAME)
    return expected


def test_a_lost_database_is_rebuilt_from_the_outs_once(sqlite: str, empty_database: Path) -> None:
    expected = write_outs("one")
    shutil.rmtree(".fifty")
    assert rebuild.sync(params_of("one", "without-outs")) == 3
    assert known("one") == expected
    champion = tracking._client(sqlite).get_model_version_by_alias("model-one", tracking.CHAMPION)
    assert rebuild.sync(params_of("one")) == 0
    assert known("one") == expected
    assert int(champion.version) == 1


def test_a_run_that_a_person_deleted_stays_deleted(sqlite: str) -> None:
    expected = write_outs("one")
    rebuild.sync(params_of("one"))
    client = tracking._client(sqlite)
    gone = next(iter(expected))
    client.delete_run(tracking.find_run(gone).info.run_id)
    assert rebuild.sync(params_of("one")) == 0
    assert gone not in known("one")


def test_a_run_that_a_person_deletes_meanwhile_holds_up_no_other(sqlite: str) -> None:
    client = tracking._client(sqlite)
    with Journal("search@x") as book:
        parent = book.start("x", "search", {})
        trial = book.start("x", "trial", {}, parent=parent)
        send_outbox()
        client.delete_run(tracking.find_run(trial).info.run_id)
        for step in range(3):
            book.metrics(trial, step, {"loss": 1.0})
            book.metrics(parent, step, {"loss": 1.0})
        outbox = delivery.Outbox()
        outbox.send()
        book.tags(trial, {"status": "finished"})
        book.end(trial)
        outbox.send()
        book.end(parent)
    file = kept(book.folder)
    send_outbox()
    assert unsent() == []
    assert known("x") == {parent: told(file)[parent]}


def test_new_work_brings_a_deleted_experiment_back(sqlite: str) -> None:
    write_search("x")
    send_outbox()
    client = tracking._client(sqlite)
    (gone,) = [found for found in client.search_experiments() if found.name == "x"]
    client.delete_experiment(gone.experiment_id)
    file = kept(write_search("x"))
    send_outbox()
    assert told(file).items() <= known("x").items()


def test_outs_that_were_half_sent_are_sent_whole(sqlite: str) -> None:
    expected = write_outs("one")
    first = next(journal.events(places.results("one") / "search" / NAME))
    shutil.rmtree(".fifty")
    half = Path("half.jsonl")
    lines = (places.results("one") / "search" / NAME).read_text().splitlines(keepends=True)
    half.write_text("".join(lines[:4]))
    tracking.Sender(places.results("one") / "search", None).send(half)
    assert tracking.find_run(first["run"]).info.status == "RUNNING"
    assert rebuild.sync(params_of("one")) == 3
    assert known("one") == expected


def test_what_another_process_is_sending_is_not_rebuilt_beside_it(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "PATIENCE_SECONDS", 0.1)
    expected = write_outs("one")
    with contextlib.ExitStack() as other:
        for folder in unsent():
            assert other.enter_context(delivery._alone(folder, 0.0))
        assert rebuild.sync(params_of("one")) == 0
        assert known("one") == {}
    assert rebuild.sync(params_of("one")) == 0
    assert known("one") == expected


REBUILDER = """
import sys, time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from pipelines import rebuild, tracking
tracking._client(tracking.uri())
Path("ready-" + sys.argv[1]).touch()
while not Path("go").exists():
    time.sleep(0.005)
print(rebuild.sync(SimpleNamespace(experiments=["one"])))
"""


def test_two_processes_that_rebuild_at_once_rebuild_nothing_twice(sqlite: str, environment: Environment) -> None:
    expected = write_outs("one")
    shutil.rmtree(".fifty")
    with together({"a": REBUILDER, "b": REBUILDER}, environment) as started:
        said = sorted(process.communicate(timeout=100)[0] for process in started.values())
    assert said == ["0\n", "3\n"]
    assert known("one") == expected


def test_the_command_sends_and_says_what_it_did(sqlite: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_params()
    write_outs("digits-mlp")
    assert rebuild.main([]) == 0
    assert capsys.readouterr().out == f"tracking: everything is in {sqlite}\n"
    Path("params.yaml").write_text("x: 1\n")
    assert rebuild.main([]) == 2
    assert "x: unknown key" in capsys.readouterr().err


# --- the champion -------------------------------------------------------------------------------------------------


def register(accuracy: float, loss: float, prepared: str = "p1") -> str:
    """A version of model `m`; its number."""
    with Journal("train@x") as book:
        run = book.start("x", "train", {})
        tags = {"data.prepared": prepared, "val_accuracy": repr(accuracy), "val_loss": repr(loss)}
        book.model(run, "package", "m", tags)
        book.end(run)
    send_outbox()
    versions = tracking._client(tracking.uri()).search_model_versions("name='m'")
    return str(max(int(version.version) for version in versions))


def champion() -> str:
    return str(tracking._client(tracking.uri()).get_model_version_by_alias("m", tracking.CHAMPION).version)


def test_the_champion_is_the_best_on_validation_then_by_loss_then_by_age(sqlite: str) -> None:
    first = register(0.9, 0.5)
    assert champion() == first
    register(0.8, 0.1)
    assert champion() == first
    register(0.9, 0.5)
    assert champion() == first
    lower = register(0.9, 0.4)
    assert champion() == lower
    best = register(0.95, 0.9)
    assert champion() == best


def test_a_champion_competes_on_the_same_prepared_data_only(sqlite: str) -> None:
    register(0.99, 0.1, prepared="p1")
    other = register(0.5, 0.9, prepared="p2")
    assert champion() == other
    tracking.crown("m", "p1")
    assert champion() == "1"


# --- the package --------------------------------------------------------------------------------------------------

LOADER = """
import sys
from pathlib import Path
# The environment knows this checkout, for the command `fifty`.
sys.path[:] = [path for path in sys.path if not Path(path, "lit_models").is_dir()]
import numpy as np, mlflow.pyfunc
for name in sys.argv[1:]:
    np.save(f"{name}.npy", mlflow.pyfunc.load_model(name).predict(np.load(f"{name}.x.npy")))
assert not [m for m in sys.modules if m.split(".")[0] in ("lit_models", "pipelines")]
try:
    import lit_models
except ImportError:
    print("alone")
"""
PICKLED = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@pytest.mark.filterwarnings("default")
def test_packaged_models_load_without_this_project_for_any_batch_size_and_hold_no_pickle(folder: Path) -> None:
    import numpy as np
    import torch

    from lit_models import FAMILIES
    from tests.lit_models.cohorts import SMALL
    from tests.lit_models.samples import examples, spec_of

    def inputs(model: Any, count: int) -> Any:
        """As a caller has them: pixels as floats, observations for what acts."""
        form = model.spec.form
        x = model.spec.example(count) if form == "control" else examples(form, count)[0]
        return (x.float() if form == "image" else x).numpy()

    models = {
        name: kind(kind.Config(**{"dropout": 0.2, **SMALL[name]}), spec_of(kind.FORMS[0]), seed=1).eval()
        for name, kind in FAMILIES.items()
    }
    for name, model in models.items():
        tracking.package_model(model, inputs(model, 2), folder / name)
        for archive in (folder / name).rglob("*.pt2"):
            with zipfile.ZipFile(archive) as files:
                parts = {part: files.read(part) for part in files.namelist()}
            assert not [part for part, content in parts.items() if content.startswith(PICKLED)]
            assert not [part for part, content in parts.items() if b"lit_models" in content and part.endswith(".pkl")]
        assert list((folder / name).rglob("*.pt2"))
        assert not [path for path in (folder / name).rglob("*") if path.suffix in (".pkl", ".pth", ".pt")]
        np.save(folder / f"{name}.x.npy", inputs(model, 5))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", LOADER, *models]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("alone")
    for name, model in models.items():
        with torch.no_grad():
            expected = model(torch.from_numpy(inputs(model, 5))).numpy()
        np.testing.assert_allclose(np.load(folder / f"{name}.npy"), expected, rtol=1e-5, atol=1e-6)

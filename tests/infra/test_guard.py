"""Each safety is taken away in turn from a config that has them all, and the config is refused for that very one."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import guard, ray_config, userdata
from infra.faults import Refused
from infra.guard_checks import CHECKS
from infra.guard_clouds import CLOUDS
from tests.infra.configs import committed, rendered, run

Config = dict[str, Any]
Change = Callable[[Config], Any]


def nodes(config: Config) -> list[Config]:
    """The `node_config` of each type, the head's first."""
    return [kind["node_config"] for kind in config["available_node_types"].values()]


def worker(config: Config) -> Config:
    return nodes(config)[-1]


def edit_script(node: Config, old: str, new: str) -> None:
    """Change what a machine runs first, and see that it has been changed."""
    if "UserData" in node:
        holder, key = node, "UserData"
    else:
        holder, key = next(item for item in node["metadata"]["items"] if item["key"] == "startup-script"), "value"
    assert old in holder[key]
    holder[key] = holder[key].replace(old, new)


def edit_start(config: Config, role: str, old: str, new: str) -> None:
    lines = config[f"{role}_start_ray_commands"]
    assert any(old in line for line in lines)
    config[f"{role}_start_ray_commands"] = [line.replace(old, new) for line in lines]


def without(command: str, *keys: str) -> Change:
    """Take away the lines with `command` from lists of commands."""

    def change(config: Config) -> None:
        for key in keys:
            assert any(command in line for line in config[key])
            config[key] = [line for line in config[key] if command not in line]

    return change


def set_in(place: Callable[[Config], Any], key: Any, value: Any) -> Change:
    return lambda config: place(config).__setitem__(key, value)


def drop(place: Callable[[Config], Any], key: Any) -> Change:
    return lambda config: place(config).pop(key)


TIMER = "systemctl enable --now fifty-deadman.timer"
EVERYWHERE: list[tuple[str, str, Change]] = [
    ("armed", "timer is not enabled", lambda c: edit_script(nodes(c)[0], TIMER, "")),
    ("armed", "worker's timer is not enabled", lambda c: edit_script(worker(c), TIMER, "")),
    (
        "armed",
        "timer is enabled, and disabled",
        lambda c: edit_script(nodes(c)[0], TIMER, f"{TIMER}\nsystemctl stop x"),
    ),
    ("armed", "something comes first", lambda c: edit_script(nodes(c)[0], "umask 022", "sleep 600\numask 022")),
    ("armed", "nothing is powered off", lambda c: edit_script(worker(c), "shutdown -h now", "true")),
    (
        "whose",
        "a worker believes itself a head",
        lambda c: edit_script(worker(c), '"role": "worker"', '"role": "head"'),
    ),
    ("terminate", "machines are stopped", set_in(lambda c: c["provider"], "cache_stopped_nodes", True)),
    ("terminate", "left to Ray's default", drop(lambda c: c["provider"], "cache_stopped_nodes")),
    ("keepalive", "head", lambda c: edit_start(c, "head", "export RAY_grpc_client_keepalive_time_ms=5000; ", "")),
    (
        "keepalive",
        "worker",
        lambda c: edit_start(c, "worker", "keepalive_timeout_ms=5000", "keepalive_timeout_ms=60000"),
    ),
    ("token", "head", lambda c: edit_start(c, "head", "export RAY_AUTH_MODE=token; ", "")),
    ("token", "worker", lambda c: edit_start(c, "worker", "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled")),
    ("token", "not sent to workers", set_in(lambda c: c, "cluster_synced_files", [])),
    ("token", "in a command, for all to see", lambda c: c["setup_commands"].append("export RAY_AUTH_TOKEN=abc")),
    ("loopback", "open", lambda c: edit_start(c, "head", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0")),
    ("loopback", "open after all", lambda c: edit_start(c, "head", "--head", "--head --dashboard-host 0.0.0.0")),
    ("idle", "never", set_in(lambda c: c, "idle_timeout_minutes", 600)),
    ("idle", "a worker for ever", set_in(lambda c: list(c["available_node_types"].values())[-1], "min_workers", 1)),
    ("workers", "more than reserved", set_in(lambda c: c, "max_workers", 101)),
    (
        "patience",
        "an hour",
        lambda c: edit_start(c, "head", "export RAY_AUTOSCALER_RECONCILE_ALLOCATE", "export OTHER"),
    ),
    ("set-up", "does not see that the switch is armed", set_in(lambda c: c, "initialization_commands", [])),
    ("set-up", "has no watchdog", without("setup.sh", "worker_setup_commands")),
    ("set-up", "never done", without("marks/ready", "head_start_ray_commands")),
]
FOR: dict[str, list[tuple[str, str, Change]]] = {
    "aws": [
        ("shutdown", "stop", set_in(worker, "InstanceInitiatedShutdownBehavior", "stop")),
        ("shutdown", "default", drop(worker, "InstanceInitiatedShutdownBehavior")),
        ("metadata", "IMDSv1", set_in(lambda c: worker(c)["MetadataOptions"], "HttpTokens", "optional")),
        ("disks", "kept", set_in(lambda c: worker(c)["BlockDeviceMappings"][0]["Ebs"], "DeleteOnTermination", False)),
        ("disks", "plain", set_in(lambda c: worker(c)["BlockDeviceMappings"][0]["Ebs"], "Encrypted", False)),
        ("disks", "the image's own", drop(worker, "BlockDeviceMappings")),
        (
            "spot",
            "asked for again",
            set_in(worker, "InstanceMarketOptions", {"SpotOptions": {"SpotInstanceType": "persistent"}}),
        ),
        (
            "spot",
            "stopped",
            set_in(worker, "InstanceMarketOptions", {"SpotOptions": {"InstanceInterruptionBehavior": "stop"}}),
        ),
        ("tags", "none on the disk", lambda c: worker(c)["TagSpecifications"].pop()),
        ("tags", "none", drop(worker, "TagSpecifications")),
        ("tags", "another's", lambda c: worker(c)["TagSpecifications"][0]["Tags"][0].update(Value="other")),
        ("size", "too large", lambda c: edit_script(worker(c), "#!/bin/bash", "#!/bin/bash\n" + "#" * 17000)),
    ],
    "gcp": [
        ("platform", "kept", set_in(lambda c: worker(c)["scheduling"], "instanceTerminationAction", "STOP")),
        ("platform", "never", drop(worker, "scheduling")),
        ("disks", "kept", set_in(lambda c: worker(c)["disks"][0], "autoDelete", False)),
        ("labels", "none", drop(worker, "labels")),
        ("ssh", "the project's keys", lambda c: [i.update(value="FALSE") for i in worker(c)["metadata"]["items"][2:3]]),
    ],
}
RUN_ONLY: dict[str, list[tuple[str, str, Change]]] = {
    "aws": [
        ("deadline", "later", lambda c: edit_script(worker(c), '"deadline": 1795', '"deadline": 1796')),
        ("ssh", "Ray's own group", drop(worker, "SecurityGroupIds")),
        ("profile", "Ray's own", drop(worker, "IamInstanceProfile")),
    ],
    "gcp": [
        ("deadline", "later", lambda c: edit_script(worker(c), '"deadline": 1795', '"deadline": 1796')),
        ("platform", "later", set_in(lambda c: worker(c)["scheduling"], "terminationTime", "2026-11-26T20:00:01Z")),
        (
            "platform",
            "relative",
            lambda c: [
                worker(c)["scheduling"].pop("terminationTime"),
                worker(c)["scheduling"].update(maxRunDuration={"seconds": 60}),
            ],
        ),
        (
            "account",
            "may do everything",
            set_in(
                worker,
                "serviceAccounts",
                [{"email": "x", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}],
            ),
        ),
    ],
}
HAND: list[tuple[str, str, Change]] = [
    (
        "deadline",
        "a year",
        lambda c: [edit_script(n, '"relative_seconds": 14400', '"relative_seconds": 31536000') for n in nodes(c)],
    ),
    (
        "deadline",
        "not the same",
        lambda c: edit_script(worker(c), '"relative_seconds": 14400', '"relative_seconds": 14401'),
    ),
    ("ssh", "sshd is open", lambda c: edit_script(worker(c), "AllowUsers", "#")),
]


def ids(rows: list[tuple[str, str, Change]]) -> list[str]:
    return [f"{name}-{what}" for name, what, _ in rows]


def refused(config: Config, name: str, cloud: str, by_hand: bool = False) -> None:
    whole = {check.name: check.sentence for check in (*CHECKS, *CLOUDS[cloud])}
    with pytest.raises(Refused) as caught:
        guard.check(config, None if by_hand else run(cloud))
    assert f"{name}: {whole[name]}" in str(caught.value)


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
@pytest.mark.parametrize("spot", [0.1578, None])
@pytest.mark.parametrize("gpus", [0, 1])
def test_what_fifty_renders_is_safe(cloud: str, spot: float | None, gpus: int) -> None:
    guard.check(rendered(cloud, spot=spot, gpus=gpus), run(cloud, spot=spot, gpus=gpus))


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
@pytest.mark.parametrize(("name", "what", "change"), EVERYWHERE, ids=ids(EVERYWHERE))
def test_what_lacks_a_safety_is_refused(cloud: str, name: str, what: str, change: Change) -> None:
    config = rendered(cloud)
    change(config)
    refused(config, name, cloud)


CLOUDS_ROWS = [(cloud, *row) for cloud in FOR for row in FOR[cloud] + RUN_ONLY[cloud]]


@pytest.mark.parametrize(
    ("cloud", "name", "what", "change"), CLOUDS_ROWS, ids=[f"{c}-{n}-{w}" for c, n, w, _ in CLOUDS_ROWS]
)
def test_what_lacks_a_safety_of_its_cloud_is_refused(cloud: str, name: str, what: str, change: Change) -> None:
    config = rendered(cloud)
    change(config)
    refused(config, name, cloud)


def test_the_config_for_launching_by_hand_is_safe_as_it_is() -> None:
    guard.check(committed("aws"), None)


BY_HAND = EVERYWHERE + FOR["aws"] + HAND


@pytest.mark.parametrize(("name", "what", "change"), BY_HAND, ids=ids(BY_HAND))
def test_launched_by_hand_it_is_refused_as_well(name: str, what: str, change: Change) -> None:
    config = copy.deepcopy(committed("aws"))
    change(config)
    refused(config, name, "aws", by_hand=True)


def test_a_person_may_fill_in_their_address_and_another_life() -> None:
    config = copy.deepcopy(committed("aws"))
    for node in nodes(config):
        edit_script(node, "ssh_from=", "ssh_from=203.0.113.7   # my own")
        edit_script(node, '"relative_seconds": 14400', '"relative_seconds": 7200')
        edit_script(node, "echo 14400", "echo 7200")
    guard.check(config, None)


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_every_check_has_been_seen_to_refuse(cloud: str) -> None:
    names = {name for name, _, _ in EVERYWHERE + FOR[cloud] + RUN_ONLY[cloud]}
    assert names == {check.name for check in (*CHECKS, *CLOUDS[cloud])}


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_another_runs_config_is_refused(cloud: str) -> None:
    config, other = rendered(cloud), replace(run(cloud), id="fifty-20261126-170000-3c4d")
    assert {"whose"} <= {name for name, _ in guard.missing(config, other)}
    earlier = replace(run(cloud), deadline=run(cloud).deadline - timedelta(minutes=1))
    assert {"deadline"} <= {name for name, _ in guard.missing(config, earlier)}


def test_an_unknown_cloud_is_refused() -> None:
    assert (
        "`azure` is no cloud" in dict(guard.missing(rendered("aws") | {"provider": {"type": "azure"}}, None))["cloud"]
    )


JUNK = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["type", "head", "worker"]), st.none() | st.text(max_size=3), max_size=3),
)
COMMITTED = committed("aws")


@given(st.dictionaries(st.sampled_from(["provider", "available_node_types", "head_node_type"]), JUNK, min_size=1))
def test_a_config_that_is_not_even_shaped_like_one_is_refused_and_nothing_breaks(junk: Config) -> None:
    with pytest.raises(Refused):
        guard.check(COMMITTED | junk, None)


def test_the_token_stands_in_no_config() -> None:
    text = str(rendered("aws"))
    assert ray_config.TOKEN in text
    assert "RAY_AUTH_TOKEN" not in text


def test_both_roles_are_told_apart() -> None:
    assert userdata.by_hand("head") != userdata.by_hand("worker")

"""The section `machine`: what this machine may give to a search. It decides how fast results come, never which."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from pipelines.section import Section

# What the system, Ray and MLflow need beside the cohorts.
SPARE = 0.6
# What a container may take: cgroup version 2, and version 1.
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
# Ray counts resources in so small parts; in them, more than so many on a GPU would leave room for one more.
SHARES, MOST_ON_A_GPU = 10_000, 99


class MachineConfig(Section):
    """The section `machine`; no stage depends on it, so changing it reruns nothing."""

    workers: Literal["auto"] | int = Field(default="auto", description="cohorts trained at a time; `auto`: the cores")
    memory_gb: Literal["auto"] | float = Field(
        default="auto",
        description="memory that one worker may take, GB; `auto`: its share of 60 % of the machine's; not a GPU's",
    )

    @field_validator("workers")
    @classmethod
    def _some_workers(cls, workers: Literal["auto"] | int) -> Literal["auto"] | int:
        if isinstance(workers, int) and not 1 <= workers <= 4096:
            raise ValueError("must be `auto` or from 1 to 4096")
        return workers

    @field_validator("memory_gb")
    @classmethod
    def _some_memory(cls, memory: Literal["auto"] | float) -> Literal["auto"] | float:
        if isinstance(memory, float | int) and not 0 < memory <= 1e6:
            raise ValueError("must be `auto` or above 0")
        return memory

    def cohorts(self, threads: int) -> int:
        """How many cohorts of so many threads are trained at a time."""
        cores = os.cpu_count() or 1
        return max(1, cores // threads) if self.workers == "auto" else self.workers

    def memory(self) -> int:
        """Bytes that one worker may take of the main memory.

        Its share of the whole memory (of the container's, where one is set), not of what happens to be free, and of
        the cores, not of the workers: a plan must come out the same every time on one kind of machine.
        """
        if self.memory_gb != "auto":
            return int(self.memory_gb * 1e9)
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        texts = [path.read_text() for path in CGROUP_LIMITS if path.is_file()]
        return int(whole_memory(physical, texts) * SPARE) // (os.cpu_count() or 1)


def whole_memory(physical: int, limits: list[str]) -> int:
    """Say how many bytes of main memory there are for us.

    Args:
        physical: bytes that the machine has.
        limits: what a container's files say: bytes (version 1 means none by an immense number), or `max`.
    """
    return min([physical, *(int(limit) for limit in limits if limit.strip().isdecimal())])


def gpu_share(memory: list[int], total: int, workers: int) -> float:
    """Say what fraction of a GPU each cohort is given, so that the largest fits as often as cohorts are placed on it.

    Args:
        memory: bytes that each cohort takes, as probed; 0 if it was not.
        total: bytes that cohorts may fill.
        workers: cohorts that are trained at a time for each GPU.

    Returns:
        1/n for a whole n, rounded down to the ten-thousandths that Ray counts in; 1 where a cohort was not probed, or
        does not fit twice.
    """
    if not memory or min(memory) <= 0:
        return 1.0
    fits = max(1, min(total // max(memory), workers, MOST_ON_A_GPU))
    return SHARES // fits / SHARES

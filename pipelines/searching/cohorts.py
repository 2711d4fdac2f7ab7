"""A cohort as the plan has it: plain data, and what becomes of it when it must be split."""

from typing import Any

# Fields of `lit_models.cohort.record.CohortSpec`.
Cohort = dict[str, Any]


def halves(cohort: Cohort) -> list[Cohort]:
    """Divide a cohort of two trials or more; both parts begin anew."""
    middle = (len(cohort["trials"]) + 1) // 2

    def part(letter: str, places: slice) -> Cohort:
        own = {name: cohort[name][places] for name in ("trials", "configs", "seeds")}
        engine = cohort["engine"] if len(own["trials"]) > 1 else "lone"
        return {**cohort, **own, "name": cohort["name"] + letter, "engine": engine}

    return [part("a", slice(middle)), part("b", slice(middle, None))]


def whole_name(cohort: Cohort) -> str:
    """The name of the cohort that this one is a part of, or its own."""
    return str(cohort["name"]).rstrip("ab")

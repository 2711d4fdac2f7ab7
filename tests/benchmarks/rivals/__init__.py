"""The search of `tests.benchmarks.search` as a person would write it without this project, one program each."""

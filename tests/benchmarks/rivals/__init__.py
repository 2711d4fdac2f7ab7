"""The same search written as a person would write it without this project; one program each, for tests.benchmarks.search."""

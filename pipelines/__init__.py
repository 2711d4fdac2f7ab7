"""One module per DVC stage, from raw bytes to the report; `python -m pipelines.<stage> --help` explains each."""

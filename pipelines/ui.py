"""Serves the MLflow dashboard on loopback, after sending it what is still unsent.

python -m pipelines.ui --port 5001
"""

import argparse
import os
import socket
import sys

HOST = "127.0.0.1"


def main() -> int:
    """Sync, see that the port is free, and become the MLflow server."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.ui", description="Serve the MLflow dashboard.")
    parser.add_argument("--port", type=int, default=5000, help="default: %(default)s")
    port = parser.parse_args().port
    if not 1 <= port <= 65535:
        print(f"ui: port {port} is not between 1 and 65535", file=sys.stderr)
        return 2
    from pipelines import rebuild, server

    address = server.uri()
    if not address.startswith("sqlite:///"):
        print(f"ui: MLFLOW_TRACKING_URI names a server of its own; open {server.shown_uri()}", file=sys.stderr)
        return 1
    if not _free(port):
        print(f"ui: port {port} is taken; choose another: make ui PORT={port + 1}", file=sys.stderr)
        return 1
    if code := rebuild.main([]):
        return code
    # Without the query MLflow opens on its pages for language-model applications.
    print(f"ui: http://{HOST}:{port}/#/experiments?workflowType=machine_learning (Ctrl-C ends it)", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", address]
    command += ["--host", HOST, "--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore"}
    os.environ.update(quiet)
    # Nothing here schedules jobs, for which MLflow would start eight processes more.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    return os.execv(sys.executable, command)  # noqa: S606


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())

"""Which tracking server is meant, and how its address may be shown."""

import hashlib
import os

from pipelines import places


def uri() -> str:
    """The tracking server: `MLFLOW_TRACKING_URI`, or SQLite in the main checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{places.main_checkout() / 'mlruns' / 'mlflow.db'}"


def fingerprint() -> str:
    """Tells servers apart without writing down a password."""
    return hashlib.sha256(uri().encode()).hexdigest()


def shown_uri() -> str:
    """The server's address as people may see it."""
    return hidden(uri())


def hidden(text: str) -> str:
    """`text` without the server's user name and password; mlflow's errors quote the whole address."""
    scheme, _, rest = uri().partition("://")
    authority = rest.partition("/")[0] if scheme.startswith(("http", "sqlite")) else rest
    credentials = authority.rpartition("@")[0]
    return text.replace(f"{credentials}@", "") if credentials else text

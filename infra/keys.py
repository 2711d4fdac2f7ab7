"""The private key that opens the machines of a cluster, made here and never sent anywhere."""

import stat
from pathlib import Path

from infra import record
from infra.faults import Refused


def check(path: Path) -> None:
    """See that nobody else may read a key file.

    Raises:
        Refused: others may; says what to do.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise Refused(f"the key file {path} is open to others (mode {mode:03o}); close it: chmod 600 {path}")


def public_key(path: Path) -> str:
    """Return the public half of the key in `path`, which is made if there is none.

    Raises:
        Refused: the file is open to others, or holds no key.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not path.exists():
        private = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        record.write(path, private)
    check(path)
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except ValueError:
        raise Refused(f"{path} holds no private key that can be read; remove the file, and another is made") from None
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return public.decode()

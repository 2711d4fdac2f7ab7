"""The double's certificate authority, and credentials that are nobody's."""

import json
import socket
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Vouches for one certificate, which says that it is all of Google."""

    def __init__(self) -> None:
        self.certificate, chain = certificates()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(chain)
            file.flush()
            self.context.load_cert_chain(file.name)

    def write(self, path: Path) -> Path:
        """Write the certificate that a client must trust."""
        path.write_bytes(self.certificate)
        return path

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Answer a client's greeting."""
        return self.context.wrap_socket(connection, server_side=True)


@cache
def certificates() -> tuple[bytes, bytes]:
    """Make a certificate that vouches for itself; return it, and it with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "double of Google Cloud")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("*.googleapis.com")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate, certificate + private


def login(path: Path) -> Path:
    """Write what `gcloud auth application-default login` leaves behind."""
    person = {"type": "authorized_user", "client_id": "1", "client_secret": "none", "refresh_token": "none"}
    path.write_text(json.dumps(person))
    path.chmod(0o600)
    return path

"""The double's books: which machines Google Cloud has, and what they know."""

from tests.infra.gcp.double import Double
from tests.pretend_aws.machine import Facts


class GcpBooks:
    """Implements `tests.pretend_aws.watcher.Books` by the double's state.

    Args:
        double: which runs in this process.
    """

    def __init__(self, double: Double) -> None:
        self.compute = double.compute

    def read(self) -> dict[str, bool]:
        """See `Books.read`."""
        with self.compute.lock:
            self.compute.tick()
            return {name: machine["status"] == "RUNNING" for (_, name), machine in self.compute.of("instances").items()}

    def facts(self, name: str) -> Facts:
        """See `Books.facts`."""
        with self.compute.lock:
            machine = self.compute.of("instances")[self._key(name)]
            told = {item["key"]: item["value"] for item in machine["metadata"]["items"]}
            interface = machine["networkInterfaces"][0]
            public = next((access["natIP"] for access in interface.get("accessConfigs", [])), "")
        # Each line is a user's name, a colon, and the key.
        keys = "\n".join(line.partition(":")[2] for line in told.get("ssh-keys", "").splitlines())
        image = machine["disks"][0]["source"]
        return Facts(name, interface["networkIP"], public, keys, told.get("startup-script", ""), image, every_boot=True)

    def powered_off(self, name: str) -> None:
        """See `Books.powered_off`: its disk stays, and costs."""
        with self.compute.lock:
            self.compute.power_off(self._key(name))

    def at(self, address: str) -> str:
        """The machine with an address; empty if there is none."""
        with self.compute.lock:
            for (_, name), machine in self.compute.of("instances").items():
                if any(interface["networkIP"] == address for interface in machine["networkInterfaces"]):
                    return name
        return ""

    def _key(self, name: str) -> tuple[str, str]:
        return next(key for key in self.compute.of("instances") if key[1] == name)

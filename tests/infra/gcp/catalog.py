"""What the double has to offer: zones, kinds of machines, GPUs, images, quotas, prices."""

from typing import Any

Json = dict[str, Any]
ZONES = ("us-central1-a", "us-central1-b", "europe-west4-a")
QUOTAS = {
    "CPUS": 24.0,
    "CPUS_ALL_REGIONS": 32.0,
    "NVIDIA_T4_GPUS": 4.0,
    "PREEMPTIBLE_NVIDIA_T4_GPUS": 4.0,
    "NVIDIA_L4_GPUS": 4.0,
    "PREEMPTIBLE_NVIDIA_L4_GPUS": 4.0,
    "IN_USE_ADDRESSES": 8.0,
    "SSD_TOTAL_GB": 500.0,
    "GPUS_ALL_REGIONS": 4.0,
}


def machine(name: str, cores: int, gigabytes: float, **more: Any) -> Json:
    return {"name": name, "guestCpus": cores, "memoryMb": int(gigabytes * 1024), **more}


L4 = [{"guestAcceleratorType": "nvidia-l4", "guestAcceleratorCount": 1}]
PLAIN = [
    machine("e2-standard-2", 2, 8),
    machine("e2-standard-4", 4, 16),
    machine("n1-standard-4", 4, 15),
    machine("n1-standard-8", 8, 30),
]
MACHINES = {
    "us-central1-a": [*PLAIN, machine("g2-standard-4", 4, 16, accelerators=L4)],
    "us-central1-b": [*PLAIN, machine("g2-standard-4", 4, 16, accelerators=L4)],
    "europe-west4-a": PLAIN,
}
GPUS = [
    {"name": "nvidia-tesla-t4", "description": "NVIDIA T4", "maximumCardsPerInstance": 4},
    {"name": "nvidia-l4", "description": "NVIDIA L4", "maximumCardsPerInstance": 8},
]
ACCELERATORS: dict[str, list[Json]] = {"us-central1-a": GPUS, "us-central1-b": GPUS, "europe-west4-a": []}
UBUNTU, DRIVER = "ubuntu-os-cloud", "ubuntu-os-accelerator-images"
IMAGES: dict[tuple[str, str], Json] = {
    (UBUNTU, "ubuntu-2404-lts-amd64"): {
        "name": "ubuntu-2404-noble-amd64-v20261101",
        "selfLink": f"https://www.googleapis.com/compute/v1/projects/{UBUNTU}/global/images/"
        "ubuntu-2404-noble-amd64-v20261101",
        "diskSizeGb": "10",
    },
    (DRIVER, "ubuntu-accelerator-2204-amd64-with-nvidia-580"): {
        "name": "ubuntu-accelerator-2204-amd64-with-nvidia-580-v20261101",
        "selfLink": f"https://www.googleapis.com/compute/v1/projects/{DRIVER}/global/images/"
        "ubuntu-accelerator-2204-amd64-with-nvidia-580-v20261101",
        "diskSizeGb": "20",
    },
}
# Dollars per hour, or per GB and month: description, usage type, price.
PRICES = [
    ("E2 Instance Core running in Americas", "OnDemand", 0.02181159),
    ("E2 Instance Ram running in Americas", "OnDemand", 0.00292353),
    ("Spot Preemptible E2 Instance Core running in Americas", "Preemptible", 0.00654),
    ("Spot Preemptible E2 Instance Ram running in Americas", "Preemptible", 0.000877),
    ("N1 Predefined Instance Core running in Americas", "OnDemand", 0.031611),
    ("N1 Predefined Instance Ram running in Americas", "OnDemand", 0.004237),
    ("Spot Preemptible N1 Predefined Instance Core running in Americas", "Preemptible", 0.00698),
    ("Spot Preemptible N1 Predefined Instance Ram running in Americas", "Preemptible", 0.00094),
    ("Nvidia Tesla T4 GPU running in Americas", "OnDemand", 0.35),
    ("Nvidia Tesla T4 GPU attached to Spot Preemptible VMs running in Americas", "Preemptible", 0.11),
    ("G2 Instance Core running in Americas", "OnDemand", 0.02499),
    ("G2 Instance Ram running in Americas", "OnDemand", 0.00293),
    ("Spot Preemptible G2 Instance Core running in Americas", "Preemptible", 0.01),
    ("Spot Preemptible G2 Instance Ram running in Americas", "Preemptible", 0.00117),
    ("Nvidia L4 GPU running in Americas", "OnDemand", 0.56004),
    ("Nvidia L4 GPU attached to Spot Preemptible VMs running in Americas", "Preemptible", 0.22402),
    ("Balanced PD Capacity", "OnDemand", 0.1),
    ("External IP Charge on a Standard VM", "OnDemand", 0.005),
    ("Standard Storage US Regional", "OnDemand", 0.02),
    ("Commitment v1: N1 Core in Americas for 1 Year", "Commit1Yr", 0.019915),
    ("Custom N1 Instance Core running in Americas", "OnDemand", 0.033174),
    ("N1 Predefined Instance Core running in Frankfurt", "OnDemand", 0.040692),
]

"""What moto has no answer to: prices, images with a driver, and the quotas of an account that has been in use."""

import json
import re
from pathlib import Path
from typing import Any

from infra import prices

GPU_IMAGE, PLAIN_IMAGE = "ami-0000000000000f1f7", "ami-0000000000000f1f8"
_PARAMETER = "/aws/service/deeplearning/"
CORES = 64.0  # virtual processors of each class that the account may run
_FAMILY = {True: "GPU instance", False: "General purpose"}


def write_images(path: Path) -> None:
    """Write what moto takes for all the images there are: Ubuntu, with NVIDIA's driver and without."""
    named = {
        GPU_IMAGE: ("Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) 20261101", "898082745236"),
        PLAIN_IMAGE: ("ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20261101", "099720109477"),
    }
    images = [
        {
            "ami_id": image,
            "name": name,
            "description": name,
            "owner_id": owner,
            "image_location": f"amazon/{name}",
            "public": True,
            "virtualization_type": "hvm",
            "architecture": "x86_64",
            "state": "available",
            "platform": None,
            "image_type": "machine",
            "hypervisor": "xen",
            "root_device_name": "/dev/sda1",
            "root_device_type": "ebs",
            "sriov": "simple",
            "creation_date": "2026-11-01T00:00:00.000Z",
        }
        for image, (name, owner) in named.items()
    ]
    path.write_text(json.dumps(images))


def answer(action: str, body: str) -> bytes | None:
    """Return the answer to a request that moto cannot answer; None for all others."""
    if action == "GetProducts":
        return json.dumps({"FormatVersion": "aws_v1", "PriceList": _products(json.loads(body))}).encode()
    if action == "GetParameter" and _PARAMETER in body:
        name = json.loads(body)["Name"]
        return json.dumps({"Parameter": {"Name": name, "Type": "String", "Value": GPU_IMAGE, "Version": 1}}).encode()
    if action == "GetServiceQuota":
        told = json.loads(body)
        return json.dumps({"Quota": {**told, "QuotaName": told["QuotaCode"], "Value": CORES}}).encode()
    return None


def resolved(body: bytes) -> bytes:
    """Put the image into a launch that names the parameter which has it, as EC2 does and moto does not."""
    return re.sub(rb"ImageId=resolve%3Assm%3A[^&]*", b"ImageId=" + GPU_IMAGE.encode(), body)


def _products(asked: dict[str, Any]) -> list[str]:
    """Products with the prices of infra's own table."""
    wanted = {one["Field"]: one["Value"] for one in asked.get("Filters", [])}
    offers, rates, _ = prices.offers("aws", wanted.get("regionCode", "us-east-1"))
    if "instanceFamily" in wanted:
        return [
            _product({"instanceType": offer.machine.name}, "Hrs", offer.on_demand)
            for offer in offers
            if _FAMILY[offer.machine.gpus > 0] == wanted["instanceFamily"]
        ]
    if asked["ServiceCode"] == "AmazonVPC":
        return [_product({}, "Hrs", rates.address_hour)]
    return [_product({}, "GB-Mo", rates.disk_gb_month if "volumeApiName" in wanted else rates.storage_gb_month)]


def _product(attributes: dict[str, str], unit: str, price: float) -> str:
    dimension = {"unit": unit, "pricePerUnit": {"USD": str(price)}}
    terms = {"OnDemand": {"T": {"priceDimensions": {"D": dimension}}}}
    return json.dumps({"product": {"attributes": attributes}, "terms": terms})

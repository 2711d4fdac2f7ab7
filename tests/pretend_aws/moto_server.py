"""moto's server with the instance types of infra's price table alone: it needs ten seconds to tell of all of AWS's.

python -m tests.pretend_aws.moto_server -H 127.0.0.1 -p 5001
"""

import sys

from moto.ec2.models import instance_types
from moto.server import main

from infra import prices


def keep_priced() -> None:
    """Forget all types but those that have a price."""
    priced = {offer.machine.name for offer in prices.offers("aws", "us-east-1")[0]}
    for name in instance_types.INSTANCE_TYPES.keys() - priced:
        del instance_types.INSTANCE_TYPES[name]


if __name__ == "__main__":
    keep_priced()
    main(sys.argv[1:])

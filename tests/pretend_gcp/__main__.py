"""Try `fifty` on Google Cloud without an account.

    python -m tests.pretend_gcp                    # a shell in which Google Cloud is pretended
    python -m tests.pretend_gcp fifty plan gcp     # one command in it

What is written in there, to whatever place, is gone when it ends.
"""

import sys

from tests.pretend_aws.__main__ import main

if __name__ == "__main__":
    sys.exit(main("tests.pretend_gcp.world", __doc__))

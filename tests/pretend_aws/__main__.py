"""Try `fifty` without an account.

    python -m tests.pretend_aws                    # a shell in which AWS is pretended
    python -m tests.pretend_aws fifty plan aws     # one command in it

What is written in there, to whatever place, is gone when it ends.
"""

import signal
import sys

from tests.pretend_aws.launch import AWS, hang_up_on, start, why_not


def main(world: str = AWS, help_: str | None = __doc__) -> int:
    """Run a shell or a command inside; its exit code is ours."""
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(help_)
        return 0
    if reason := why_not():
        print(reason, file=sys.stderr)
        return 2
    process = start(sys.argv[1:], world)
    signal.signal(signal.SIGINT, lambda *_: None)  # it is meant for the command inside, which gets it, too
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hang_up_on(process))
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())

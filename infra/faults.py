"""What goes wrong, as a person is told it.

Fault                 something failed midway; exit code 1; `fifty down` clears what is there
  Refused             nothing was begun and nothing costs money: wrong input, no credentials, no budget; exit code 2
  CloudFault          the cloud's API failed or cannot be reached
    NotThere          what was asked for does not exist in the cloud
    NoCapacity        the cloud has no such machine to give just now
    Throttled         too many requests; asked again after a pause
"""


class Fault(Exception):
    """One clear sentence that says what failed and what to do; never a traceback for the person."""

    code = 1


class Refused(Fault):
    """Refused at the door, before anything costs money."""

    code = 2


class CloudFault(Fault):
    """The cloud's API failed."""


class NotThere(CloudFault):
    """It does not exist in the cloud."""


class NoCapacity(CloudFault):
    """The cloud has none to give just now."""


class Throttled(CloudFault):
    """The cloud asks to slow down."""

"""What a person can mend, told in one sentence."""


class Fault(Exception):
    """A fault that a person can mend; `str()` is one clear sentence naming the file, key or byte offset.

    Stages print the sentence and exit with 1; anything else that is raised is a defect and keeps its
    traceback.

        Exception
        └── Fault
    """

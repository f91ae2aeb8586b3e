"""Errors that are the user's to fix; the command line prints them as a single line."""


class ReidlabError(ValueError):
    """What was got, what was expected, and the fix, in one line."""


class MissingPath(ReidlabError, FileNotFoundError):
    """A file or folder that was named is not there."""

    __str__ = Exception.__str__

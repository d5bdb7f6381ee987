"""The one error a user is meant to read."""


class UserError(Exception):
    """Bad input, told in one sentence: what is wrong, where (file, row) and what to do about it.

    The command line prints the sentence alone and exits with status 2; inside a notebook it is the
    last line of the traceback.
    """

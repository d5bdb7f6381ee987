"""What ends a command or a notebook with a sentence that is meant to be read."""


class UserError(Exception):
    """Bad input, as one sentence: what is wrong, where (file, row) and what to do about it.

    The command line prints the sentence alone and exits with status 2; inside a notebook it is the
    last line of the traceback, and all that `scripts/run_nb.py` shows of it.
    """


class LeftOut(Exception):
    """A notebook has nothing to do, since the data lacks what it is about; the text names it.

    `scripts/run_nb.py` ends the notebook at the cell that raises it, shows the text (Markdown)
    there, and the stage ends well. What the stage must leave behind is written before.
    """

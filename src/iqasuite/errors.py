"""The one kind of error that a user can mend."""


class InputError(ValueError):
    """What somebody gave is wrong: a file, a column, a parameter.

    The message is one line that says what is wrong, where, what was found and what was expected.
    Programs show it without a traceback and exit with a status other than 0.
    """

"""The one kind of error that a user can mend."""

LONGEST = 1500  # characters of a message


class InputError(ValueError):
    """What somebody gave is wrong: a file, a column, a parameter.

    The message is one line that says what is wrong, where, what was found and what was expected.
    Programs show it without a traceback and exit with a status other than 0. Line breaks in what was found become
    blanks, and of a very long message the middle is left out.
    """

    def __init__(self, message: object = "") -> None:
        text = " ".join(str(message).splitlines())
        super().__init__(text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 3 :]}")

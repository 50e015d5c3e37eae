"""Why a measurement ends without a result."""


class BenchError(Exception):
    """Something cannot be measured; the text is for the person who asked."""


class WrongAnswerError(BenchError):
    """A model does not answer the request that is to be sent."""


class BenchUsageError(BenchError):
    """It was asked for in a way that makes no sense."""

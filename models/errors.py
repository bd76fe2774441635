"""What can be wrong with a model, or with what is asked of it.

ModelError
 ├─ InvalidNetwork     layers that do not make a spiking classifier
 ├─ InvalidProgram     weights, biases or thresholds outside the integer contract
 ├─ InvalidPolicy      exit parameters out of range
 ├─ InvalidImage       what cannot become the network's pixels
 │   └─ UnknownFormat  a file of a kind that is not decoded
 ├─ Unreachable        an outcome that the calibration curve does not reach
 ├─ InvalidProfile     a hardware profile with a constant missing or out of range
 ├─ BundleError        a bundle on disk that must not be served
 └─ EngineUnavailable  an engine that cannot run a bundle here, or computes other bits
"""


class ModelError(Exception):
    """What users of :mod:`spikeserve.models` can get wrong; misuse of its parts is ValueError."""


class InvalidNetwork(ModelError):
    """The layers do not make a spiking classifier."""


class InvalidProgram(ModelError):
    """Weights, biases or thresholds break the integer contract."""


class InvalidPolicy(ModelError, ValueError):
    """An exit parameter is out of range."""


class InvalidImage(ModelError, ValueError):
    """An image that is none, is damaged, or is an array of another kind."""


class UnknownFormat(InvalidImage):
    """A file of a kind that is not decoded; says which, where that is easily told."""


class Unreachable(ModelError):
    """An asked-for outcome lies outside the calibration curve; names the range."""


class InvalidProfile(ModelError):
    """A hardware profile that no energy may be computed with; names file and constant."""


class BundleError(ModelError):
    """A bundle on disk that must not be served; names the file and the fix."""


class EngineUnavailable(ModelError):
    """An engine cannot run this bundle here, or disagrees with the reference; says why."""

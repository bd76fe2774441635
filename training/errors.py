"""What can go wrong offline.

TrainingError
 ├─ RecipeError     a recipe that cannot be read or contradicts itself
 ├─ DataError       a data set that is missing or not what it should be
 └─ TrainingPaused  training that has stopped in time, to go on later
"""


class TrainingError(Exception):
    """Base of every error raised by :mod:`training`; the command line prints its message."""


class RecipeError(TrainingError):
    """The recipe cannot be read or contradicts itself."""


class DataError(TrainingError):
    """A data set is missing, damaged, or not the one it claims to be."""


class TrainingPaused(TrainingError):
    """The time given is up; everything is saved and training can go on."""

"""Errors of training and data.

TrainingError
 ├─ RecipeError     a recipe that cannot be read or contradicts itself
 ├─ DataError       a data set that is missing or not what it should be
 └─ TrainingPaused  a time limit is reached; training can be resumed
"""


class TrainingError(Exception):
    """Base of all errors of training; the command line prints the message."""


class RecipeError(TrainingError):
    """The recipe cannot be read or contradicts itself."""


class DataError(TrainingError):
    """A data set is missing, damaged, or not the one it claims to be."""


class TrainingPaused(TrainingError):
    """The time limit is reached; all epochs are saved and ``--resume`` goes on."""

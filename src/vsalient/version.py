"""The version, on the ground floor: the package itself names the parts that need it."""

__version__ = "0.2.0"

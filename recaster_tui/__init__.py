"""Train face-replacement models in a terminal. See README.md and the rooms in DESIGN."""

__version__ = "0.1.0"

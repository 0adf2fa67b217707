"""Typed options of every model class: the one source for form, CLI, TOML, help and validation."""

from recaster_tui.options.model_class import ModelClass

__all__ = ["ModelClass"]

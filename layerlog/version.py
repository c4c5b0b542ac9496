"""The one place where the version is written; pyproject.toml, ``--version`` and the envelope read it here."""

__version__ = "0.1.0"

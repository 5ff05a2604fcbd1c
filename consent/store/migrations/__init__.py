"""Alembic migrations of the consent database."""

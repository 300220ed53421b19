"""Executable rollback runbooks: procedures, gates, records and drills."""

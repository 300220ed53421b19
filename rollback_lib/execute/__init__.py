"""Headless running: papermill's engine with our own saving and stopping; the outcome comes from the journal."""

from rollback_lib.execute.headless import EXIT_CODES, Execution, execute, exit_code_of_error, outcome_of

__all__ = ["EXIT_CODES", "Execution", "execute", "exit_code_of_error", "outcome_of"]

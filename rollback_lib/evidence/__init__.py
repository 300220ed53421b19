"""What can be proved: the account of a run, its sealed record, the archive, the log and the report.

- The journal is the evidence; everything here is derived from it and can be derived again.
- Nothing here writes to a journal, and nothing here sends anything.
- What is damaged is named, never hidden and never shown as success.
"""

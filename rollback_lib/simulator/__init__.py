"""The platforms on loopback: one isolated company, served by its own traffic and faults."""

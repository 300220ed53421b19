"""The platforms, one typed client each; their JSON ends here."""

"""Who allows it? Gates, approvals, and what the plan asks of them."""

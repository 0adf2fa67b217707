"""Measurements of the budgets in DESIGN section 8, run by ``recaster bench …``, never by tests."""

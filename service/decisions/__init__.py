"""Decisions: context, allocation, order sizes and the audit."""

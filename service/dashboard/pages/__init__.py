"""Dashboard pages: one module a page."""

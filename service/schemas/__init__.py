"""Typed requests and answers of the REST interface."""

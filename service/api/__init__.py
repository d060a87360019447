"""Routes of the REST interface: thin, a file a subject."""

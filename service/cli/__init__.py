"""Commands of the service, a module each; imported only when called."""

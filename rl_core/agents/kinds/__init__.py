"""Kinds of agents, one in each module: its ``KIND`` declares it, and the module has the kind's name."""

"""The command line: the root command and the trading commands."""

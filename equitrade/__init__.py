"""The foundation that all packages share: errors, atomic writes, child processes and the console.

It imports nothing of ours.
"""

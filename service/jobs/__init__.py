"""Sub-package.."""

"""The ideas, as pure frozen values and functions: no input, no output, no clock, no client."""

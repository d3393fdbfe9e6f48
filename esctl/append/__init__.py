"""Append events: from lines of input or a deciding program, with expected versions, JSON Schemas and rules."""

"""The topics of `esctl help TOPIC`, Markdown."""

"""How events get in: lines, what a writer expects, what a model admits, rules, decisions."""

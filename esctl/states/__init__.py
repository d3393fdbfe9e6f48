"""Fold the events of streams into states, find how states came about, and save snapshots of states."""

"""Dialogues with modems on paper: written down (record), played back (replay), told (explain)."""

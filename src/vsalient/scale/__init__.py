"""Many videos: a manifest to go on from, shares and claims among workers, processes on one machine, places far away.

No torch here: these parts decide who works on what and record what became of it; the work itself is handed in.
"""

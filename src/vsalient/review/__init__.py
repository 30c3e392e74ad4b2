"""A look at what was made: how sure it is frame by frame, and one HTML file to go through it."""

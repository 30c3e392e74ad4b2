"""Another aspect for a film: a crop that follows the object like a camera operator would."""

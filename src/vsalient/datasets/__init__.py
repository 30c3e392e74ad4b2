"""What a data set looks like: pictures and what their values mean, and how a source is named."""

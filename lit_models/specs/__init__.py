"""What a model must know of the data it is built for: one spec for each form of data."""

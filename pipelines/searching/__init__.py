"""What decides the results of a search: one dep of its stage, whole. What only carries, tells or keeps lies outside."""

"""What several kinds of dataset share: one dep of all of them."""

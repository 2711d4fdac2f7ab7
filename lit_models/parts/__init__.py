"""Parts that families are made of: what stands between a family's file and what all families share."""

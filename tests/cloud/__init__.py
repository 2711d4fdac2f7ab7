"""What `fifty` does in a whole cloud, pretended: Ray's real launcher, real machines that really end."""

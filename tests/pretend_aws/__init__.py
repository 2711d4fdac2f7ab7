"""A pretended AWS on one Debian machine, in which Ray's real launcher and `fifty` run unchanged; see README.md."""

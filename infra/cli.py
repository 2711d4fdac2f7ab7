"""The `fifty` command."""
def main() -> None: print("hi")

"""`python -m langwright`, which is the program `langwright`."""

from langwright.cli.main import main

if __name__ == "__main__":
    main()

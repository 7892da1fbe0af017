"""The commands of the `headway` program that are not a part of another package."""

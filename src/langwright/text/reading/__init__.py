"""What takes text out of files of many formats."""

"""Following log files: found, woken for, read in good order, remembered."""

"""What scorereg is for, as programs that run."""

"""What clients asked and were answered, as objects to assert on and as a transcript to read."""

"""What some handlers import from here."""

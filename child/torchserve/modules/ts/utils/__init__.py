"""What handlers import from here."""

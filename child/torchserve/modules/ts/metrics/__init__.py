"""What handlers count with. The server shows it."""

"""Resources that instances share, and who may execute."""

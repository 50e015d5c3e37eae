"""What /metrics shows: the text format, and the metrics that models make themselves."""

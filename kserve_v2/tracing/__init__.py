"""What single requests went through: Triton's trace extension, as JSON files or as OpenTelemetry spans."""

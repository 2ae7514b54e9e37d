"""A speech server that speaks the provider's Live v2 protocol, with an offline recogniser behind it."""

"""The gateway put together: `root` runs it, `errands` do one thing without it."""

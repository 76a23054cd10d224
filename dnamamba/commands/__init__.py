"""One file a command group; each parses, makes one library call and stops."""

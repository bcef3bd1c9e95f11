"""The command line of geounet: one file a verb."""

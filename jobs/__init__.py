"""The learner process and the command line: jobs that learn, import and replay. Knows the store and the core, never the web."""

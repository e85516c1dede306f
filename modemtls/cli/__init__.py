"""The command line: a table of commands, the parser and the completion made from it, and one module a task."""

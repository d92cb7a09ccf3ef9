"""Stories from end to end: a server in this process, and clients that were written for Apache's."""

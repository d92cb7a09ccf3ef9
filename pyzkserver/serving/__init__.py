"""What clients see: connections, the port they come to, the words that monitoring asks with."""

"""Where transactions are kept.  So far only in memory; the files in Apache's formats come here."""

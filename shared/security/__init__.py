"""Who may do what, and what may be written down about it: tokens, principals, redaction."""

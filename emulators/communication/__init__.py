"""Azure Communication Services Call Automation on one machine."""

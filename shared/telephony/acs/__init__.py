"""Azure Communication Services as a carrier: Call Automation, and the events that it sends."""

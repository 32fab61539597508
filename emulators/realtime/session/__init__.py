"""One Realtime session without sockets or clocks: client events and speech in, server events out."""

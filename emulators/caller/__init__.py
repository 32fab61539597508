"""A synthetic caller: speaks real speech over WebRTC to an endpoint shaped like the Realtime API."""

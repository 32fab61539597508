"""The Azure OpenAI Realtime API on one machine: client secrets, WebRTC and SIP-style calls, sidebands."""

"""The session store on a real Redis."""

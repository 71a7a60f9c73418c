"""The domain and everything that knows the database or the HTTP server."""

"""Drafts from the city's own articles: knowledge, retrieval, writing, checking, and the model's server."""

"""Run large LLM batch jobs through provider batch APIs, with the state in a database."""

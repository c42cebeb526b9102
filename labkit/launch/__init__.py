"""How an agent is started, and what this machine can do."""

//! The agent's memory in SQLite: settings with their versions, and boots.

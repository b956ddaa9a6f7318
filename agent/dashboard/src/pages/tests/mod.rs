//! Pages over a real door.

//! Decisions as tables; children with real programs in real namespaces.

//! In the middle of a removal.

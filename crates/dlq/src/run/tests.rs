//! Runs on a shelf made of memory.

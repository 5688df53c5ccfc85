//! Tests of add and remove.

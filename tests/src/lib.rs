//! An empty library. The integration tests of the workspace are in `it/`.

//! Files with one thing wrong each.

use crate::Topology;

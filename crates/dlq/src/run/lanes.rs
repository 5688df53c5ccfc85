//! What must go one after another, and what may go at once.

use crate::Parked;

/// Each lane in its order; lanes beside each other. Groups are lanes where order is kept, elsewhere every message is one.
pub(super) fn lanes(batch: Vec<Parked>, keeps_order: bool) -> Vec<Vec<Parked>> {
    let mut lanes: Vec<Vec<Parked>> = Vec::new();
    for parked in batch {
        let same = |lane: &&mut Vec<Parked>| lane.first().is_some_and(|first| first.group == parked.group);
        match lanes.iter_mut().find(same).filter(|_| keeps_order && parked.group.is_some()) {
            Some(lane) => lane.push(parked),
            None => lanes.push(vec![parked]),
        }
    }
    lanes
}

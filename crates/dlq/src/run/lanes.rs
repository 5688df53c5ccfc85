//! What must go one after another, and what may go at once.

use crate::DeadLetter;

/// Each lane in its order; lanes beside each other. Groups are lanes where order is kept, elsewhere every message is one.
pub(super) fn lanes(batch: Vec<DeadLetter>, keeps_order: bool) -> Vec<Vec<DeadLetter>> {
    let mut lanes: Vec<Vec<DeadLetter>> = Vec::new();
    for letter in batch {
        let same = |lane: &&mut Vec<DeadLetter>| lane.first().is_some_and(|first| first.group == letter.group);
        match lanes.iter_mut().find(same).filter(|_| keeps_order && letter.group.is_some()) {
            Some(lane) => lane.push(letter),
            None => lanes.push(vec![letter]),
        }
    }
    lanes
}

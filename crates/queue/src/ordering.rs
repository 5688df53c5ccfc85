//! [`ordering_groups`]: splits a batch into groups whose messages wait for each other.

use std::collections::HashMap;
use std::hash::Hash;

/// Splits `items` into groups by `key`, each in the order of arrival; groups follow their first item. An item without a
/// key is a group by itself.
pub fn ordering_groups<T, K: Hash + Eq>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> Option<K>,
) -> Vec<Vec<T>> {
    let items = items.into_iter();
    let mut groups: Vec<Vec<T>> = Vec::with_capacity(items.size_hint().0);
    let mut known = HashMap::new();
    for item in items {
        let index = match key(&item) {
            Some(key) => *known.entry(key).or_insert(groups.len()),
            None => groups.len(),
        };
        match groups.get_mut(index) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_their_order_and_items_without_a_key_stand_alone() {
        let key = |item: &(char, Option<u8>)| item.1;
        let items = [('a', None), ('b', Some(1)), ('c', Some(2)), ('d', Some(1)), ('e', None)];
        let groups = ordering_groups(items, key);
        let shown: Vec<String> = groups.iter().map(|group| group.iter().map(|item| item.0).collect()).collect();
        assert_eq!(shown, ["a", "bd", "c", "e"]);
    }
}

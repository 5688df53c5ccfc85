//! Settings of the sources in environment variables.

/// Reads the largest number of receives of a message. A variable that is absent or blank is `None`; one that is not a
/// whole number of at least 1 is added to `mistakes`.
pub(crate) fn receive_count_max(
    name: &str,
    lookup: impl Fn(&str) -> Option<String>,
    mistakes: &mut Vec<String>,
) -> Option<u32> {
    let text = lookup(name).filter(|text| !text.trim().is_empty())?;
    let receives = text.trim().parse().ok().filter(|receives| *receives > 0);
    if receives.is_none() {
        mistakes.push(format!("{name} is not a whole number of at least 1"));
    }
    receives
}

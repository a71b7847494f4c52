//! The names of the agent's variables.

pub const TOKEN: &str = "VMKIT_AGENT_TOKEN";
pub const GATEWAY: &str = "VMKIT_GATEWAY_URL";
pub const INSTANCE: &str = "VMKIT_INSTANCE_ID";
pub const CA_FILE: &str = "VMKIT_CA_FILE";

/// All of them. An installation copies them from its environment, and `doctor` warns of others.
pub const KNOWN: [&str; 11] = [
    TOKEN,
    GATEWAY,
    "VMKIT_LOG_LEVEL",
    INSTANCE,
    "VMKIT_LABELS",
    CA_FILE,
    "VMKIT_DOCKER_BIN",
    "VMKIT_RESTART_CMD",
    "VMKIT_UPGRADES",
    "VMKIT_UPGRADE_PUBKEY",
    "VMKIT_UPGRADE_PROBATION_SECS",
];

/// The known name that `name` is the most like: the one that takes the fewest characters added or
/// removed. Parts of names are left out more often than misspelt.
pub fn nearest(name: &str) -> &'static str {
    KNOWN.into_iter().min_by_key(|known| distance(known, name)).unwrap_or_default()
}

/// The edit distance of two names.
fn distance(one: &str, other: &str) -> usize {
    // The distances from the beginning of `one` so far to each beginning of `other`.
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, own) in one.bytes().enumerate() {
        let mut next = vec![index + 1];
        let mut last = index + 1;
        for (pair, theirs) in row.windows(2).zip(other.bytes()) {
            let &[before, above] = pair else { continue };
            last = (before + 2 * usize::from(own != theirs)).min(above + 1).min(last + 1);
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_the_nearest() {
        for (wrong, meant) in [
            ("VMKIT_LOGLEVEL", "VMKIT_LOG_LEVEL"),
            ("VMKIT_TOKEN", "VMKIT_AGENT_TOKEN"),
            ("VMKIT_GATEWAY", "VMKIT_GATEWAY_URL"),
            ("VMKIT_UPGRADE", "VMKIT_UPGRADES"),
            ("VMKIT_UPGRADE_PROBATION", "VMKIT_UPGRADE_PROBATION_SECS"),
        ] {
            assert_eq!(nearest(wrong), meant, "{wrong}");
        }
        assert_eq!((distance("abc", "abc"), distance("abc", ""), distance("ab", "ba")), (0, 3, 2));
    }
}

//! The order of versions by age. Pure.

use std::cmp::Ordering;

use super::request::Version;

impl Version {
    /// Compares by age, as semantic versioning does, but any string that is a version will do.
    /// Dotted parts count from left to right: numbers by value and before words, words by their
    /// bytes. A missing part counts as 0. A pre-release (`-rc.1`) comes before its release. What
    /// follows a `+` does not count. So two versions can be equal and differ in spelling.
    pub fn order(&self, other: &Version) -> Ordering {
        let (release, early) = split(self.as_str());
        let (other_release, other_early) = split(other.as_str());
        dotted(release, other_release, Some("0")).then_with(|| match (early, other_early) {
            (Some(early), Some(other_early)) => dotted(early, other_early, None),
            (early, other_early) => other_early.is_some().cmp(&early.is_some()),
        })
    }
}

/// The release and, where there is one, the pre-release.
fn split(version: &str) -> (&str, Option<&str>) {
    let version = version.split('+').next().unwrap_or_default();
    match version.split_once('-') {
        Some((release, early)) => (release, Some(early)),
        None => (version, None),
    }
}

/// Compares part by part. `absent` stands for a part that only the other version has; without it,
/// the version with fewer parts is the lower one.
fn dotted(left: &str, right: &str, absent: Option<&str>) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) => left.or(absent).map(key).cmp(&right.or(absent).map(key)),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// What a part is compared by: numbers come before words; a longer number is greater, and numbers of
/// one length compare digit by digit.
fn key(part: &str) -> (bool, usize, &str) {
    match part.bytes().all(|byte| byte.is_ascii_digit()) {
        true => {
            let digits = part.trim_start_matches('0');
            (false, digits.len(), digits)
        }
        false => (true, 0, part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        Version::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn versions_in_their_order() {
        let ordered = [
            "0",
            "0.0.1-a",
            "0.0.1",
            "0.1",
            "0.1.1",
            "0.9.0",
            "0.10.0-rc.1",
            "0.10",
            "1.0.0-0",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.0.1",
            "1.2",
            "1.99999999999999999999999",
            "1.100000000000000000000000",
            "2-",
            "2",
            "2026.01",
            "a",
            "b",
        ];
        for (index, low) in ordered.iter().enumerate() {
            for high in &ordered[index + 1..] {
                assert_eq!(version(low).order(&version(high)), Ordering::Less, "{low} {high}");
            }
        }
        for (one, same) in [("1.2", "1.2.0"), ("1.2.3", "01.02.3+b.7"), ("1-a", "1.0-a+x-y")] {
            assert_eq!(version(one).order(&version(same)), Ordering::Equal, "{one} {same}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(texts in proptest::collection::vec("[01aA][01aZ.+-]{0,6}", 3)) {
            let [a, b, c] = [0, 1, 2].map(|index| version(&texts[index]));
            prop_assert_eq!(a.order(&a), Ordering::Equal);
            prop_assert_eq!(a.order(&b), b.order(&a).reverse());
            if a.order(&b).is_le() && b.order(&c).is_le() {
                prop_assert!(a.order(&c).is_le());
            }
            if a.order(&b).is_eq() {
                prop_assert_eq!(a.order(&c), b.order(&c));
            }
        }

        #[test]
        fn numbers_count_by_value(a: [u32; 3], b: [u32; 3], build in "[0-9a-z]{0,3}") {
            let text = |[x, y, z]: [u32; 3]| format!("{x}.{y}.{z}");
            prop_assert_eq!(version(&text(a)).order(&version(&text(b))), a.cmp(&b));
            let (release, early) = (version(&text(a)), version(&format!("{}-{build}", text(a))));
            prop_assert_eq!(early.order(&release), Ordering::Less);
            let built = version(&format!("{}+{build}", text(a)));
            prop_assert_eq!(built.order(&release), Ordering::Equal);
        }
    }
}

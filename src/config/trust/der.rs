//! Elements of DER, the form in which certificates are written. Enough to look into a certificate
//! that others have made: nothing here fails or copies, and what is broken ends the walk.

pub const SEQUENCE: u8 = 0x30;

/// The elements of some bytes, one after the other: each has its tag and its contents.
#[derive(Clone, Copy)]
pub struct Elements<'a>(pub &'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, contents, rest) = split(self.0)?;
        self.0 = rest;
        Some((tag, contents))
    }
}

impl<'a> Elements<'a> {
    /// The contents of the next element, if it has this tag.
    pub fn expect(&mut self, expected: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == expected).map(|(_, contents)| contents)
    }
}

/// The first element, as it stands there, and what follows it.
pub fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, _, rest) = split(bytes)?;
    bytes.split_at_checked(bytes.len() - rest.len())
}

/// Tag and contents of the first element, and what follows it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, length, rest @ ..] = bytes else { return None };
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        // More digits would be more than any file or TLS message holds.
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((*tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_follow_each_other_until_the_first_that_is_broken() {
        let long = [&[0x04, 0x81, 0x80][..], &[7; 0x80]].concat();
        let bytes = [&[0x30, 0x02, 1, 2, 0x05, 0x00][..], &long, &[0x30, 0x05, 1]].concat();
        let found: Vec<_> = Elements(&bytes).collect();
        assert_eq!(found, [(SEQUENCE, &[1, 2][..]), (5, &[]), (4, &[7; 0x80])]);
        assert_eq!(first(&bytes), Some(bytes.split_at(4)));
    }

    #[test]
    fn lengths_that_are_too_long_or_of_no_end_are_refused() {
        for bytes in [&[0x30][..], &[0x30, 0x80, 0, 0], &[0x30, 0x85, 0, 0, 0, 0, 0], &[0x30, 0x84]]
        {
            assert_eq!(first(bytes), None);
        }
        assert_eq!(first(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1]), None);
    }
}

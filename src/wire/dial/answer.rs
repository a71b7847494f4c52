//! The head of an HTTP answer, out of bytes that arrive in pieces. Pure; a body is never looked at.

use httparse::{EMPTY_HEADER, ParserConfig, Response, Status};

/// An answer's head, with the interim answers before it, has at most this many bytes.
pub(super) const LIMIT: usize = 16 * 1024;
/// More header lines than this are not read.
const HEADERS: usize = 100;

pub(super) const SWITCHING_PROTOCOLS: u16 = 101;

/// A final answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub status: u16,
    /// Where the head ends, counted from the first byte that was read; none if only the status could
    /// be read.
    pub end: Option<usize>,
    headers: Vec<(String, String)>,
}

/// Why there will be no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Malformed {
    NotHttp,
    Endless,
}

/// The final answer in `bytes`, which are all that have arrived; none if more are needed. `ended`
/// says that no more will come.
///
/// A status is worth more than the lines behind it: where these can't be read, or are missing at the
/// end, the answer is the status alone. That does not go for 101, which is nothing without its headers.
///
/// # Errors
/// No answer can come of these bytes, whatever follows.
pub(super) fn parse(bytes: &[u8], ended: bool) -> Result<Option<Answer>, Malformed> {
    let too_long = bytes.len() >= LIMIT;
    let bytes = bytes.get(..LIMIT).unwrap_or(bytes);
    let mut start = 0;
    loop {
        let mut headers = [EMPTY_HEADER; HEADERS];
        let mut response = Response::new(&mut headers);
        let mut parser = ParserConfig::default();
        parser.ignore_invalid_headers_in_responses(true);
        parser.allow_spaces_after_header_name_in_responses(true);
        parser.allow_multiple_spaces_in_response_status_delimiters(true);
        let parsed = parser.parse_response(&mut response, bytes.get(start..).unwrap_or_default());
        let status = response.code;
        match (parsed, status) {
            (Ok(Status::Complete(length)), Some(100 | 102..=199)) => start += length,
            (Ok(Status::Complete(length)), Some(status)) => {
                return Ok(Some(Answer::new(status, Some(start + length), response.headers)));
            }
            (Ok(Status::Partial), _) if !ended && !too_long => return Ok(None),
            (_, Some(status)) if !matches!(status, 100..=199) => {
                return Ok(Some(Answer::new(status, None, &[])));
            }
            (Ok(_), _) if too_long => return Err(Malformed::Endless),
            (Ok(_), _) => return Ok(None),
            (Err(_), _) => return Err(Malformed::NotHttp),
        }
    }
}

impl Answer {
    fn new(status: u16, end: Option<usize>, headers: &[httparse::Header]) -> Answer {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = headers.iter().map(|header| (header.name.to_owned(), text(header.value)));
        Answer { status, end, headers: headers.collect() }
    }

    /// The values of all headers of this name, in any case.
    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The members of a header that is a list. Several headers of one name are one list.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        let members = self.all(name).flat_map(|value| value.split(',')).map(str::trim);
        members.filter(|member| !member.is_empty())
    }

    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.list(name).any(|known| known.eq_ignore_ascii_case(member))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Answer {
        parse(bytes, false).unwrap().unwrap()
    }

    #[test]
    fn a_status_of_either_version_is_read_with_its_headers() {
        for version in ["1.0", "1.1"] {
            let head =
                format!("HTTP/{version} 503 Service Unavailable\r\nRETRY-after:  60 \r\n\r\n");
            let answer = whole(format!("{head}<html>").as_bytes());
            assert_eq!((answer.status, answer.end), (503, Some(head.len())), "{version}");
            assert_eq!(answer.header("Retry-After"), Some("60"));
            assert_eq!(answer.header("Location"), None);
        }
        // Without a reason, and with bare line feeds; with more blanks than there should be.
        assert_eq!(whole(b"HTTP/1.1 401\nA: b\n\n").header("a"), Some("b"));
        let blanks = whole(b"HTTP/1.1  401  x\r\nA : b\r\n\r\n");
        assert_eq!((blanks.status, blanks.header("a")), (401, Some("b")));
    }

    #[test]
    fn interim_answers_are_skipped_and_101_is_final() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nA: b\r\n\r\nHTTP/1.1 103 Early \
                       Hints\r\nLink: </s.css>\r\n\r\n";
        assert_eq!(parse(interim.as_bytes(), false), Ok(None));
        assert_eq!(parse(interim.as_bytes(), true), Ok(None));
        for status in [101, 200, 503] {
            let head = format!("{interim}HTTP/1.1 {status} x\r\n\r\n");
            let answer = whole(format!("{head}rest").as_bytes());
            assert_eq!((answer.status, answer.end), (status, Some(head.len())));
        }
    }

    #[test]
    fn several_headers_of_a_name_are_one_list() {
        let answer = whole(
            b"HTTP/1.1 101 x\r\nconnection: keep-alive ,Upgrade\r\nConnection:\r\nCONNECTION: x,\r\n\r\n",
        );
        assert_eq!(answer.list("Connection").collect::<Vec<_>>(), ["keep-alive", "Upgrade", "x"]);
        assert!(answer.lists("Connection", "upgrade") && !answer.lists("Connection", "up"));
        assert!(!answer.lists("Upgrade", "websocket"));
    }

    #[test]
    fn a_status_is_not_lost_for_what_comes_behind_it() {
        let many = "A: b\r\n".repeat(HEADERS + 1);
        let long = format!("A: {}", "x".repeat(LIMIT));
        for bad in [&*many, &long, "A\0: b\r\n\r\n"] {
            let answer = whole(format!("HTTP/1.1 401 Unauthorized\r\n{bad}").as_bytes());
            assert_eq!(answer.status, 401, "{bad:.20}");
        }
        assert_eq!(whole(b"HTTP/1.1 401 \x1b[2J\r\n").status, 401);
        assert_eq!(parse(b"HTTP/1.1 401 Unauthorized\r\nA", false), Ok(None));
        assert_eq!(parse(b"HTTP/1.1 401 Unauthorized\r\nA", true).unwrap().unwrap().status, 401);
        // A line that is no header is passed over.
        let answer = whole(b"HTTP/1.1 503 x\r\n no header\r\nRetry-After: 7\r\n\r\n");
        assert_eq!(answer.header("Retry-After"), Some("7"));
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        for bytes in
            ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/9.9 abc", "HTTP/2.0 200 OK\r\n", "HTTP/1.1 2"]
        {
            let expected = if bytes.ends_with('2') { Ok(None) } else { Err(Malformed::NotHttp) };
            assert_eq!(parse(bytes.as_bytes(), true), expected, "{bytes}");
        }
        let switching = format!("HTTP/1.1 101 x\r\nA: {}", "x".repeat(LIMIT));
        assert_eq!(parse(switching.as_bytes(), false), Err(Malformed::Endless));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(LIMIT / 25 + 1);
        assert_eq!(parse(interim.as_bytes(), false), Err(Malformed::Endless));
        assert_eq!(parse(&[b'\n'; LIMIT], false), Err(Malformed::Endless));
    }

    /// What a reader gets who parses after each piece; none if the bytes end before that.
    fn in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<Option<Answer>, Malformed> {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        for end in ends {
            if let Some(answer) = parse(&bytes[..end], false)? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Bytes that come close to an answer.
    fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"HTTP/1.1 ".to_vec()),
            Just(b"HTTP/1.0 503 x\r\n".to_vec()),
            Just(b"HTTP/1.1 101\r\n".to_vec()),
            Just(b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n".to_vec()),
            Just(b"Connection: a, Upgrade\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\n".to_vec()),
            Just(vec![b'x'; LIMIT / 3]),
            proptest::collection::vec(any::<u8>(), 0..12),
        ];
        proptest::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(
            bytes in nearly_http(),
            cuts in proptest::collection::vec(any::<usize>(), 0..20),
        ) {
            prop_assert_eq!(in_pieces(&bytes, &cuts), parse(&bytes, false));
        }

        #[test]
        fn every_cut_keeps_the_bytes_behind_the_head(
            interim in 0..3_usize,
            rest in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut bytes = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(interim);
            bytes.extend(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
            let end = bytes.len();
            bytes.extend(rest);
            for cut in 0..bytes.len() {
                let answer = in_pieces(&bytes, &[cut]).unwrap().unwrap();
                prop_assert_eq!((answer.status, answer.end), (101, Some(end)));
            }
        }

        #[test]
        fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), ended: bool) {
            let _ = parse(&bytes, ended);
        }
    }
}

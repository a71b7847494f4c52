//! The syntax of `/etc/vmkit/agent.env`, read as systemd's `EnvironmentFile=` reads it, so that a
//! start by hand sees the same values as the service. Also changes one value in a file that an
//! operator may have written. Pure.

use std::ops::Range;

/// An assignment, and its bytes in the text: from its name to the end of its last line.
struct Assignment {
    name: String,
    value: String,
    span: Range<usize>,
}

/// The assignments of a file, name and value, in their order; a later value of the same name wins.
///
/// As systemd does, skips blank lines, comments (`#`, `;`) and lines that assign nothing. Values
/// may be quoted whole or in part. A `\` keeps the next character; at the end of a line it joins
/// the line with the next.
pub fn parse(text: &str) -> Vec<(String, String)> {
    assignments(text).into_iter().map(|found| (found.name, found.value)).collect()
}

/// `text` with `value` for `name` in the place of its last assignment, or at the end. Other lines
/// stay as they are, comments included. Earlier assignments of `name` are removed, so that an old
/// token does not stay in the file.
///
/// None if `text` ends within quotes or with a `\`, or if `name` is not a name.
pub fn set(text: &str, name: &str, value: &str) -> Option<String> {
    let own: Vec<Assignment> =
        assignments(text).into_iter().filter(|found| found.name == name).collect();
    if own.last().is_some_and(|last| last.value == value) {
        return Some(text.to_owned());
    }
    let line = format!("{name}={}\n", quoted(value));
    let mut edited = String::with_capacity(text.len() + line.len() + 1);
    let mut copied = 0;
    for (index, Assignment { span, .. }) in own.iter().enumerate() {
        edited.push_str(&text[copied..span.start]);
        if index + 1 == own.len() {
            edited.push_str(&line);
        }
        copied = span.end;
    }
    edited.push_str(&text[copied..]);
    if own.is_empty() {
        if !edited.is_empty() && !edited.ends_with('\n') {
            edited.push('\n');
        }
        let last = edited.lines().last().unwrap_or_default().trim_start();
        if last.starts_with(['#', ';']) && last.ends_with('\\') {
            // For systemd before 254 this comment would include the next line.
            edited.push('\n');
        }
        edited.push_str(&line);
    }
    // The result is read again, and dropped if any other value would change.
    let others = |text: &str| -> Vec<(String, String)> {
        parse(text).into_iter().filter(|(found, _)| found != name).collect()
    };
    let set = parse(&edited).into_iter().rfind(|(found, _)| found == name);
    let as_meant = set.is_some_and(|(_, found)| found == value) && others(&edited) == others(text);
    as_meant.then_some(edited)
}

/// The numbers, from 1, of the lines that are not comments and yet assign nothing. Somebody wrote
/// them on purpose, and they have no effect.
pub fn idle_lines(text: &str) -> Vec<usize> {
    let spans: Vec<Range<usize>> = assignments(text).into_iter().map(|found| found.span).collect();
    let mut start = text.len() - text.trim_start_matches('\u{feff}').len();
    let mut idle = Vec::new();
    for (line, number) in text[start..].split_inclusive('\n').zip(1..) {
        let end = start + line.len();
        let assigns = spans.iter().any(|span| span.start < end && start < span.end);
        if !assigns && !line.trim().is_empty() && !line.trim_start().starts_with(['#', ';']) {
            idle.push(number);
        }
        start = end;
    }
    idle
}

/// Whether a quote is not closed, or the last line ends with a `\`.
pub fn ends_open(text: &str) -> bool {
    // Then a line after it becomes a part of the last value.
    parse(&format!("{text}\nA=\n")).len() == parse(text).len()
}

/// `value` in a form that systemd, a shell and [`parse`] read alike.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+=.,:/@%".contains(&byte);
    if value.bytes().all(plain) {
        return value.to_owned();
    }
    let mut quoted = String::from('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\' | '`' | '$') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

fn assignments(text: &str) -> Vec<Assignment> {
    let mut assignments = Vec::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    while !rest.is_empty() {
        rest = rest.trim_start();
        if rest.starts_with(['#', ';']) {
            rest = after_line(rest);
            continue;
        }
        let line_end = rest.find('\n').unwrap_or(rest.len());
        let Some(equals) = rest[..line_end].find('=') else {
            rest = after_line(rest);
            continue;
        };
        let start = text.len() - rest.len();
        let name = rest[..equals].trim().to_owned();
        let (value, after) = value(&rest[equals + 1..]);
        rest = after;
        if is_name(&name) {
            assignments.push(Assignment { name, value, span: start..text.len() - rest.len() });
        }
    }
    assignments
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn after_line(text: &str) -> &str {
    text.find('\n').map_or("", |end| &text[end + 1..])
}

/// The value at the start of `text`, and the text after its last line.
fn value(text: &str) -> (String, &str) {
    let mut value = String::new();
    // The length up to the last character that is not white space: white space at the end is cut.
    let mut kept = 0;
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match (quote, character) {
            (None, '\n') => {
                value.truncate(kept);
                return (value, &text[index + 1..]);
            }
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => {
                quote = None;
                kept = value.len();
            }
            // Within double quotes only these four characters can be escaped, as in a shell.
            (None, '\\') | (Some('"'), '\\') => match characters.next() {
                None | Some((_, '\n')) => {}
                Some((_, next)) => {
                    if quote.is_some() && !matches!(next, '"' | '\\' | '`' | '$') {
                        value.push('\\');
                    }
                    value.push(next);
                    kept = value.len();
                }
            },
            (None, _) if character.is_whitespace() => {
                if !value.is_empty() {
                    value.push(character);
                }
            }
            _ => {
                value.push(character);
                kept = value.len();
            }
        }
    }
    value.truncate(kept);
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value_of(line: &str) -> String {
        parse(line).pop().expect("an assignment").1
    }

    #[test]
    fn reads_what_cloud_init_writes() {
        let text = "VMKIT_AGENT_TOKEN=abc\nVMKIT_GATEWAY_URL=wss://gateway.vmkit.dev/api/daemon\n";
        assert_eq!(
            parse(text),
            [
                ("VMKIT_AGENT_TOKEN".to_owned(), "abc".to_owned()),
                ("VMKIT_GATEWAY_URL".to_owned(), "wss://gateway.vmkit.dev/api/daemon".to_owned()),
            ]
        );
    }

    #[test]
    fn comments_blank_lines_and_nonsense_assign_nothing() {
        assert_eq!(parse("# A=1\n; B=2\n\n   \nnonsense\n1A=3\n=4\nA B=5\n"), []);
        assert_eq!(parse("  A = 1 # kept \r\nB=2").len(), 2);
        assert_eq!(value_of("  A = 1 # kept \r\n"), "1 # kept");
    }

    #[test]
    fn quotes_and_escapes_are_systemds() {
        assert_eq!(value_of(r#"A=" b ""#), " b ");
        assert_eq!(value_of(r"A=' $b\n '"), r" $b\n ");
        assert_eq!(value_of(r#"A="a\"b\\c\n""#), r#"a"b\c\n"#);
        assert_eq!(value_of(r"A=a\ b\"), "a b");
        assert_eq!(value_of("A=one\\\ntwo"), "onetwo");
        assert_eq!(value_of("A=\"two\nlines\""), "two\nlines");
        assert_eq!(value_of("A="), "");
        assert_eq!(value_of("A=\"open"), "open");
    }

    #[test]
    fn a_value_is_set_where_it_was() {
        let text = "# theirs\n  A = 1\n\nB=\"two\nlines\"\n; end";
        assert_eq!(set(text, "A", "x").unwrap(), text.replace("A = 1", "A=x"));
        assert_eq!(set(text, "B", "y z").unwrap(), text.replace("\"two\nlines\"", "\"y z\""));
        assert_eq!(set(text, "C", "").unwrap(), format!("{text}\nC=\n"));
        assert_eq!(set(text, "B", "two\nlines").unwrap(), text);
        assert_eq!(set("", "A", "1").unwrap(), "A=1\n");
        assert_eq!(set("# C:\\", "A", "1").unwrap(), "# C:\\\n\nA=1\n");
    }

    #[test]
    fn what_was_replaced_is_gone() {
        let text = "A=first\nB=1\nA=second\n";
        assert_eq!(set(text, "A", "third").unwrap(), "B=1\nA=third\n");
    }

    #[test]
    fn what_a_shell_would_expand_is_quoted() {
        let edited = set("", "A", r#"a b"c\d$e`f'#"#).unwrap();
        assert_eq!(edited, r#"A="a b\"c\\d\$e\`f'#""#.to_owned() + "\n");
    }

    #[test]
    fn an_open_end_is_not_written_after() {
        for text in ["A=\"open", "A='open\n", "A=1\\"] {
            assert_eq!(set(text, "B", "1"), None, "{text}");
        }
        assert_eq!(set("A=1\n", "no name", "1"), None);
    }

    #[test]
    fn lines_that_nobody_reads_are_told() {
        let text = "# A\n\nexport A=1\nB: 2\n B = \"two\nlines\"\n; end\n1C=\nC=3";
        assert_eq!(idle_lines(text), [3, 4, 8]);
        assert_eq!(idle_lines("\u{feff}A=1\n"), [0; 0]);
    }

    #[test]
    fn an_open_end_is_told() {
        for (text, open) in [
            ("A=\"open\nB=1\n", true),
            ("A='", true),
            ("A=1\\", true),
            ("A=\"1\"\n", false),
            ("", false),
        ] {
            assert_eq!(ends_open(text), open, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn setting_changes_one_value_and_nothing_else(
            text in "([AB ]{0,2}[=\"'#;\\\\\n]?[ -~\u{e4}]{0,4}\n?){0,8}",
            value in "[ -~\u{e4}\n]{0,12}",
        ) {
            let Some(edited) = set(&text, "A", &value) else { return Ok(()) };
            let of = |text: &str, name: &str| parse(text).into_iter().rfind(|(n, _)| n == name);
            prop_assert_eq!(of(&edited, "A").unwrap().1, value.clone());
            prop_assert_eq!(of(&edited, "B"), of(&text, "B"));
            // Twice is once, and no comment is lost.
            prop_assert_eq!(set(&edited, "A", &value), Some(edited.clone()));
            for comment in text.lines().filter(|line| line.starts_with('#')) {
                prop_assert!(edited.contains(comment) || text.contains(['"', '\'', '\\']));
            }
        }

        #[test]
        fn in_an_ordinary_file_any_value_can_be_set(
            lines in proptest::collection::vec("(#[ -~]{0,9}|[AB]=[a-z]{0,5}|)", 0..6),
            value in "[ -~]{0,20}",
        ) {
            prop_assert!(set(&lines.join("\n"), "A", &value).is_some());
        }

        #[test]
        fn anything_parses(text in "(.|\n)*") {
            parse(&text);
            idle_lines(&text);
            ends_open(&text);
        }

        #[test]
        fn a_plain_value_comes_back(value in "[!-&(-\\[\\]-~][ -!#-&(-\\[\\]-~]*[!#-&(-\\[\\]-~]") {
            prop_assume!(!value.contains('"'));
            let line = format!("A={value}\nB=1\n");
            let assignments = parse(&line);
            prop_assert_eq!(&assignments[0].1, &value);
            prop_assert_eq!(assignments.len(), 2);
        }
    }
}

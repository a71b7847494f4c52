//! `vmkit-agent upgrade`, typed by a person: where its URL may come from.

use std::io::{Write, pipe};

use crate::support::{Agent, Download, PATIENCE, Peer, Release, Server, Setup};

/// An upgrade that comes to nothing, because its checksum is another one's: its lines.
#[track_caller]
fn upgrade(url: &str, stdin: Option<&str>) -> (Option<i32>, Vec<String>) {
    let other = Release::unfit("another");
    let mut setup: Setup = Agent::dialing(&Peer::plain()).installed();
    let checksum = other.sha256();
    for argument in ["upgrade", "--url", url, "--sha256", &checksum, "--version", &other.version] {
        setup = setup.argument(argument);
    }
    if let Some(text) = stdin {
        let (reader, mut writer) = pipe().expect("pipes can be made");
        writer.write_all(text.as_bytes()).expect("a pipe takes so much");
        setup = setup.stdin(reader);
    }
    let mut agent = setup.start();
    let status = agent.wait_for_exit(PATIENCE);
    (status.code(), agent.whole_log())
}

#[test]
fn a_url_can_come_by_standard_input() {
    let server = Server::plain();
    let url = server.offer("agent?key=secret", *b"some file", Download::Whole);
    let with_user = url.replace("http://", "http://user:secret@");
    for text in [format!("{with_user}\n"), with_user.clone(), format!("{with_user}\nmore\n")] {
        let (status, lines) = upgrade("-", Some(&text));
        assert_eq!(status, Some(1), "{lines:#?}");
        let last = lines.last().expect("it says why");
        assert!(last.contains("checksum mismatch: what is at http://"), "{lines:#?}");
        assert!(lines.iter().all(|line| !line.contains("secret")), "{lines:#?}");
        assert!(lines.iter().all(|line| !line.contains("warning")), "{lines:#?}");
    }
}

#[test]
fn a_secret_in_an_argument_is_warned_of_and_taken() {
    let server = Server::plain();
    let plain = server.offer("agent", *b"some file", Download::Whole);
    let query = server.offer("agent?key=secret", *b"some file", Download::Whole);
    let user = plain.replace("http://", "http://user:secret@");
    for (url, is_secret) in [(&query, true), (&user, true), (&plain, false)] {
        let (status, lines) = upgrade(url, None);
        assert_eq!(status, Some(1), "{lines:#?}");
        assert!(lines.last().expect("it says why").contains("checksum mismatch"), "{lines:#?}");
        let warned = lines[0].contains("warning") && lines[0].contains("--url -");
        assert_eq!(warned, is_secret, "{lines:#?}");
        assert!(lines.iter().all(|line| !line.contains("secret")), "{lines:#?}");
    }
}

#[test]
fn what_is_no_url_is_refused() {
    let long = format!("https://localhost/{}", "x".repeat(9 * 1024));
    for (text, why) in [("", "not a URL"), ("\n", "not a URL"), (&long, "over 8 KiB")] {
        let (status, lines) = upgrade("-", Some(text));
        assert_eq!((status, lines.len()), (Some(64), 1), "{lines:#?}");
        assert!(lines[0].contains(why), "{lines:#?}");
    }
}

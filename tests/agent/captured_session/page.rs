//! The two files that the session is in. On the page a scene stands in the block below its name:
//! `<!-- scene: register -->`.

use std::fs;

use super::normal::Line;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/protocol.md");
const NDJSON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/protocol/session.ndjson");
const UPDATE: &str = "UPDATE_SESSION";

/// Compares the files with the session; with `UPDATE_SESSION` writes it into them.
#[track_caller]
pub fn compare_or_update(session: &[Line]) {
    let page = fs::read_to_string(PAGE).expect("the page is there");
    let new = [
        (PAGE, with_scenes(&page, session)),
        (NDJSON, session.iter().map(|line| format!("{}\n", line.ndjson)).collect()),
    ];
    for (path, text) in new {
        if std::env::var_os(UPDATE).is_some() {
            fs::write(path, text).expect("the files are the project's");
        } else {
            assert_same(path, &fs::read_to_string(path).unwrap_or_default(), &text);
        }
    }
}

/// The page with each scene of the session in its block. The block of a scene that this agent can't
/// play yet stays as it is.
fn with_scenes(page: &str, session: &[Line]) -> String {
    let mut lines = page.lines();
    let mut new = String::new();
    while let Some(line) = lines.next() {
        new += &format!("{line}\n");
        let name = line.strip_prefix("<!-- scene: ").and_then(|line| line.strip_suffix(" -->"));
        let Some(name) = name else { continue };
        let scene: Vec<&Line> = session.iter().filter(|line| line.scene == name).collect();
        if scene.is_empty() {
            continue;
        }
        new += &format!("{}\n", lines.next().expect("a block begins"));
        scene.iter().for_each(|line| new += &format!("{}\n", line.shown));
        let end = lines.by_ref().find(|line| *line == "```").expect("the block ends");
        new += &format!("{end}\n");
    }
    new
}

#[track_caller]
fn assert_same(path: &str, old: &str, new: &str) {
    let (mut olds, mut news) = (old.lines(), new.lines());
    for number in 1.. {
        let (old, new) = (olds.next(), news.next());
        assert!(
            old == new,
            "{path}:{number}: another session than this agent's; to write it anew, set {UPDATE}=1\n\
             there: {}\nnow:   {}",
            old.unwrap_or("(the end)"),
            new.unwrap_or("(the end)")
        );
        if old.is_none() {
            break;
        }
    }
}

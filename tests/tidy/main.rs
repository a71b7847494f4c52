//! The house rules that no tool checks: a test for each, which lists all its faults at once.

mod imports;
mod protocol;

use std::fs;

use vmkit_test_support as support;

/// All there is at the top: more would hide it.
const TOP_LEVEL: &str = ".cargo .ci .git .github .gitignore Cargo.lock Cargo.toml LICENSE Makefile \
     README.md build.rs deny.toml dist rustfmt.toml src tests";

/// What the agent is made of by design, and what has joined since: small, well kept and in use all
/// over the field. `Cargo.toml` says of each of those, in a comment right above, why it is there.
const DEPENDENCIES: &str = "log rustls serde serde_json sha2 syslog tungstenite ureq webpki-roots";
const ARGUED_FOR: &str = "data-encoding httparse lexopt minisign-verify rustix signal-hook";

#[test]
fn the_top_level_is_short() {
    none(
        entries(".")
            .filter(|(name, _)| !lists(TOP_LEVEL, name))
            .map(|(name, _)| format!("{name}: does not belong at the top")),
    );
}

#[test]
fn a_file_begins_with_its_job() {
    let files = rust_files("src").into_iter().chain(rust_files("tests"));
    none(files.filter(|file| !file.text.starts_with("//! ")).map(|file| {
        format!("{}:1: `//!` first, and in a sentence what the file is for", file.path)
    }));
}

#[test]
fn a_file_can_be_seen_whole() {
    let long = |file: &File| file.text.lines().count() > 400;
    none(
        rust_files("src")
            .into_iter()
            .filter(long)
            .map(|file| format!("{}:401: too long; which part has a job of its own?", file.path)),
    );
}

#[test]
fn the_agent_has_one_thread() {
    none(in_the_agent(&["std::thread", "thread::spawn(", "thread::scope(", "thread::Builder"]));
}

/// std's clock ends in 2038 on armv7.
#[test]
fn the_time_of_day_is_read_in_one_place() {
    let own = "src/host/timestamp.rs:";
    let readers = in_the_agent(&["SystemTime", "UnixTime::now", ".mtime()", ".modified()"]);
    none(readers.filter(|place| !place.starts_with(own)));
}

/// The compiler does not warn of a library's public items that nobody uses.
#[test]
fn a_helper_of_the_tests_is_used() {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect()
    };
    let all: Vec<String> = rust_files("tests").iter().flat_map(|file| words(&file.text)).collect();
    none(rust_files("tests/support").iter().flat_map(|file| {
        let unused = |line: &str| {
            let item = line
                .trim_start()
                .strip_prefix("pub ")
                .and_then(|item| item.strip_prefix("const ").or(Some(item))?.split_once(' '));
            let name = item.filter(|(kind, _)| lists("fn struct enum static", kind));
            let name = name.and_then(|(_, rest)| words(rest).into_iter().next());
            name.is_some_and(|name| all.iter().filter(|word| **word == name).count() < 2)
        };
        let places: Vec<_> = file.lines_where(unused).collect();
        places.into_iter().map(|place| format!("{place}: no test uses it"))
    }));
}

#[test]
fn what_is_left_to_do_is_an_issue() {
    // In halves: this file is searched too.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let marked =
        |line: &str| line.split(|c: char| !c.is_alphanumeric()).any(|w| marks.contains(&w));
    none(files(".").iter().flat_map(|file| {
        file.lines_where(marked).map(|place| format!("{place}: do it now, or make it an issue"))
    }));
}

#[test]
fn the_dependencies_are_few() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let mut faults = Vec::new();
    let (mut section, mut above) = ("", "");
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
            if line.contains("dependencies.") {
                faults.push(format!("Cargo.toml: {line}: one line a dependency, please"));
            }
        }
        let shipped = section.ends_with("dependencies]") && section != "[dev-dependencies]";
        if let Some((name, _)) = line.split_once(['=', '.'])
            && shipped
            && !line.starts_with(['#', '['])
        {
            let name = name.trim();
            if lists(ARGUED_FOR, name) && !above.starts_with('#') {
                faults.push(format!("Cargo.toml: {name}: say right above why it is here"));
            } else if !lists(ARGUED_FOR, name) && !lists(DEPENDENCIES, name) {
                faults.push(format!("Cargo.toml: {name}: unknown to tests/tidy"));
            }
        }
        above = line;
    }
    none(faults);
}

#[test]
fn the_readme_names_every_make_target() {
    let readme = fs::read_to_string("README.md").unwrap_or_default();
    let makefile = fs::read_to_string("Makefile").unwrap();
    let targets = makefile
        .lines()
        .filter(|line| line.contains(" ## "))
        .filter_map(|line| line.split_once(':').map(|(target, _)| format!("make {target}")));
    none(
        targets
            .filter(|target| !readme.contains(target))
            .map(|target| format!("README.md: what is `{target}`?")),
    );
}

struct File {
    path: String,
    text: String,
}

impl File {
    /// The places, `path:line`, of the lines that are so.
    fn lines_where(&self, so: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
        let numbered = self.text.lines().zip(1..);
        numbered
            .filter(move |(line, _)| so(line))
            .map(|(_, number)| format!("{}:{number}", self.path))
    }

    /// Without its tests, which by custom are the end of a file or a file of their own.
    fn shipped(&self) -> File {
        let text = match self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            true => "",
            false => self.text.split("#[cfg(test)]\nmod tests").next().unwrap(),
        };
        File { path: self.path.clone(), text: text.to_owned() }
    }
}

/// What is in a folder, less what is not source: git's own, and at the top what git ignores.
fn entries(folder: &str) -> impl Iterator<Item = (String, fs::FileType)> {
    let ignored = fs::read_to_string(".gitignore").unwrap().replace('/', "");
    let at_the_top = folder == ".";
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(Result::unwrap)
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.file_type().unwrap()));
    entries.filter(move |(name, _)| !(at_the_top && (name == ".git" || lists(&ignored, name))))
}

/// Every file below, without symbolic links.
fn files(folder: &str) -> Vec<File> {
    let mut files = Vec::new();
    for (name, kind) in entries(folder) {
        let path = if folder == "." { name } else { format!("{folder}/{name}") };
        if kind.is_dir() {
            files.append(&mut self::files(&path));
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            // A picture may hold any letters by chance.
            if !bytes.contains(&0) {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                files.push(File { path, text });
            }
        }
    }
    files
}

fn rust_files(folder: &str) -> Vec<File> {
    let mut files = files(folder);
    files.retain(|file| file.path.ends_with(".rs"));
    files
}

/// Where the agent, less its tests and its comments, has one of these words.
fn in_the_agent(words: &'static [&'static str]) -> impl Iterator<Item = String> {
    rust_files("src").into_iter().flat_map(|file| {
        let file = file.shipped();
        words.iter().flat_map(move |word| {
            let found = |line: &str| line.contains(word) && !line.trim_start().starts_with("//");
            let places: Vec<_> = file.lines_where(found).collect();
            places.into_iter().map(move |place| format!("{place}: {word}"))
        })
    })
}

fn lists(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|listed| listed == word)
}

#[track_caller]
fn none(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<_> = faults.into_iter().collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

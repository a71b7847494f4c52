//! `docker logs` of the stand-in. Each container shows one thing that logs can do.

use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A line that a container has written.
struct Line {
    /// Nanoseconds since 1970.
    at: i128,
    stderr: bool,
    text: Vec<u8>,
}

/// 2026-01-01T00:00:00Z.
pub const FIRST: i128 = 1_767_225_600_000_000_000;
/// Between two lines.
pub const STEP: i128 = 100_000_000;
/// Bytes after which docker breaks a line.
const PIECE: usize = 16 * 1024;

struct Options {
    tail: usize,
    since: i128,
    follow: bool,
    name: String,
}

pub fn run(folder: &Path, words: &[String]) -> u8 {
    let options = match options(words) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("{fault}");
            return 1;
        }
    };
    let lines = match options.name.as_str() {
        "kit-down" => return daemon_is_down(),
        "kit-hang" => return hang(folder),
        "kit-no-driver" => {
            eprintln!(
                "Error response from daemon: configured logging driver does not support reading"
            );
            return 1;
        }
        "kit-flood" => return flood(&options),
        "kit-halves" => return halves(folder, &options),
        name if name.starts_with("kit-live") => return live(folder, &options),
        name => match container(name) {
            Some(lines) => lines,
            None => {
                eprintln!("Error response from daemon: No such container: {name}");
                return 1;
            }
        },
    };
    let kept: Vec<Line> = lines.into_iter().filter(|line| line.at >= options.since).collect();
    let from = kept.len().saturating_sub(options.tail);
    if print(&kept[from..]).is_err() {
        return 1;
    }
    if options.name == "kit-fails" {
        return daemon_is_down();
    }
    if options.follow { hang(folder) } else { 0 }
}

/// Ends with the agent, as docker's CLI does when its output is closed; and with the kit, whose folder goes
/// with it, where the agent had ended before this began.
pub fn hang(folder: &Path) -> u8 {
    let parent = parent_id();
    while parent_id() == parent && folder.exists() {
        sleep(Duration::from_millis(20));
    }
    1
}

pub fn daemon_is_down() -> u8 {
    eprintln!(
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon \
         running?"
    );
    1
}

pub fn stamp_now() -> String {
    stamp(OffsetDateTime::now_utc().unix_timestamp_nanos())
}

/// As docker writes it: always with nine digits.
pub fn stamp(at: i128) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let text = time.format(&Rfc3339).unwrap_or_default();
    format!("{}.{:09}Z", &text[..text.len().min(19)], at % 1_000_000_000)
}

fn options(words: &[String]) -> Result<Options, String> {
    let mut options = Options { tail: usize::MAX, since: 0, follow: false, name: String::new() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, given) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let mut value = || given.clone().or_else(|| words.next().cloned()).unwrap_or_default();
        match name {
            "--timestamps" | "-t" => {}
            "--follow" | "-f" => options.follow = true,
            "--tail" | "-n" => options.tail = value().parse().unwrap_or(usize::MAX),
            "--since" => {
                let value = value();
                options.since =
                    instant(&value).ok_or(format!("invalid value for since: {value}"))?;
            }
            name if name.starts_with('-') => return Err(format!("unknown flag: {name}")),
            name => name.clone_into(&mut options.name),
        }
    }
    Ok(options)
}

/// Docker takes RFC 3339 and seconds since 1970.
fn instant(text: &str) -> Option<i128> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(time.unix_timestamp_nanos());
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = format!("{fraction:0<9}");
    Some(seconds.parse::<i128>().ok()? * 1_000_000_000 + fraction[..9].parse::<i128>().ok()?)
}

fn container(name: &str) -> Option<Vec<Line>> {
    let line = |place: usize, text: Vec<u8>| Line {
        at: FIRST + STEP * place as i128,
        stderr: false,
        text,
    };
    let lines = |count: usize, text: fn(usize) -> String| -> Vec<Line> {
        (0..count).map(|place| line(place, text(place).into_bytes())).collect()
    };
    Some(match name {
        // Line 5 of each ten has the time of line 4, which came by standard error.
        "kit-plain" => (0..60)
            .map(|place| {
                let at = if place % 10 == 5 { place - 1 } else { place };
                Line { stderr: place % 5 == 4, ..line(at, format!("line {place}").into_bytes()) }
            })
            .collect(),
        "kit-odd" => vec![
            line(0, b"carriage return\r".to_vec()),
            line(1, b"not \xff\xfe UTF-8".to_vec()),
            line(2, "right: \u{e4}\u{20ac}".into()),
        ],
        "kit-long" => vec![
            line(0, b"before".to_vec()),
            line(1, (0..40_000).map(|place| b'a' + (place % 23) as u8).collect()),
            line(2, b"after".to_vec()),
        ],
        // 200 kB of characters of three bytes: 64 KiB end within a character.
        "kit-huge" => vec![line(0, "\u{20ac}".repeat(66_000).into_bytes())],
        "kit-many" => lines(6000, |place| format!("line {place}")),
        "kit-wide" => lines(300, |place| format!("line {place} {}", "w".repeat(10_000))),
        // The quotes take two bytes each in JSON.
        "kit-quotes" => lines(300, |place| format!("line {place} {}", "\"".repeat(10_000))),
        "kit-empty" => Vec::new(),
        "kit-fails" => lines(2, |place| format!("line {place}")),
        _ => return None,
    })
}

fn print(lines: &[Line]) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut err = BufWriter::new(io::stderr().lock());
    for line in lines {
        let to: &mut dyn Write = if line.stderr { &mut err } else { &mut out };
        write_line(line, to)?;
        to.write_all(b"\n")?;
    }
    out.flush()?;
    err.flush()
}

/// Without the newline.
fn write_line(line: &Line, to: &mut dyn Write) -> io::Result<()> {
    let stamp = stamp(line.at);
    let mut pieces = line.text.chunks(PIECE);
    // An empty line has a time all the same.
    write!(to, "{stamp} ")?;
    to.write_all(pieces.next().unwrap_or_default())?;
    for piece in pieces {
        write!(to, "{stamp} ")?;
        to.write_all(piece)?;
    }
    Ok(())
}

/// Prints without end what numbers itself, so that it can be seen what was left out.
fn flood(options: &Options) -> u8 {
    let mut out = BufWriter::new(io::stdout().lock());
    let padding = "f".repeat(1000);
    let count = if options.follow { usize::MAX } else { options.tail.min(1000) };
    for number in 0..count {
        if number % 100 == 99 {
            // Some megabytes a second: more than the agent may send, and not all of the machine.
            let _ = out.flush();
            sleep(Duration::from_millis(5));
        }
        let line = format!("{} flood {number} {padding}\n", stamp_now());
        if out.write_all(line.as_bytes()).is_err() {
            return 1;
        }
    }
    0
}

/// The text of the line in the middle of which `kit-halves` pauses, as far as it is printed then.
pub fn half() -> String {
    "h".repeat(2 * PIECE)
}

/// Prints half a line, waits for the kit's word, and prints the rest.
fn halves(folder: &Path, options: &Options) -> u8 {
    let half = Line { at: FIRST, stderr: false, text: half().into_bytes() };
    let mut text = Vec::new();
    if write_line(&half, &mut text).is_err() || pass_bytes_on(&text).is_err() {
        return 1;
    }
    let parent = parent_id();
    while options.follow
        && parent_id() == parent
        && folder.exists()
        && !ended(folder, &options.name).exists()
    {
        sleep(Duration::from_millis(5));
    }
    u8::from(pass_bytes_on(format!("{} rest\n", stamp(FIRST)).as_bytes()).is_err())
}

/// The file that ends a container.
pub fn ended(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.ended"))
}

fn pass_bytes_on(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}

/// A container whose lines the kit writes into a file while it is followed.
fn live(folder: &Path, options: &Options) -> u8 {
    let path = folder.join(&options.name);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(options.tail)..] {
        if pass_on(line).is_err() {
            return 1;
        }
    }
    let ended = ended(folder, &options.name);
    let parent = parent_id();
    let mut place = text.len() as u64;
    while options.follow && parent_id() == parent && folder.exists() {
        // Before the lines are read: what was written before the end is printed.
        let is_over = ended.exists();
        place = pass_on_from(&path, place).unwrap_or(place);
        if is_over {
            break;
        }
        sleep(Duration::from_millis(5));
    }
    0
}

fn pass_on_from(path: &Path, mut place: u64) -> io::Result<u64> {
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(place))?;
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
        place += line.len() as u64;
        pass_on(line.trim_end_matches('\n'))?;
        line.clear();
    }
    Ok(place)
}

fn pass_on(line: &str) -> io::Result<()> {
    let (stream, text) = line.split_at(line.len().min(1));
    let text = format!("{text}\n");
    match stream {
        "e" => io::stderr().write_all(text.as_bytes()),
        _ => pass_bytes_on(text.as_bytes()),
    }
}

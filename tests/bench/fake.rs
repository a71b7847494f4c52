//! A docker that prints what a measurement needs: a shell script, the last argument says what.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workplace::Workplace;

/// 5,000 lines of 100 bytes.
pub const ORDINARY: &str = "ordinary";
/// 5,000 lines of 400 bytes, more than a reply holds, on both pipes.
pub const BIG: &str = "big";
/// 5,000 lines of 1 kB.
pub const KILOBYTES: &str = "kilobytes";
/// As [`BIG`], of bytes that take six in JSON.
pub const ESCAPES: &str = "escapes";
/// One line of 100 MB, in docker's pieces of 16 KiB with the time before each.
pub const ENDLESS: &str = "endless";
/// One line of 10 MB.
pub const LONG: &str = "long";
/// Short lines without end, as fast as they are read.
pub const BUSY: &str = "busy";
/// What is written to the pipe of this name.
pub const PIPED: &str = "piped";
/// Nothing, and no end: also from a child that holds the pipes.
pub const HANGING: &str = "hanging";

const SCRIPT: &str = r#"#!/bin/sh
cd "${0%/*}" || exit
for container; do :; done
case $1:$container in
logs:ordinary | logs:kilobytes | logs:piped) exec cat "$container" ;;
logs:busy) exec yes "2026-01-01T00:00:00.000000000Z y" ;;
logs:big | logs:escapes)
    cat "$container.stdout" &
    cat "$container.stderr" >&2
    wait
    ;;
logs:endless | logs:long)
    case $container in endless) mebibytes=96 ;; *) mebibytes=10 ;; esac
    while [ "$mebibytes" -gt 0 ]; do
        cat 64-pieces
        mebibytes=$((mebibytes - 1))
    done
    echo
    ;;
*)
    sleep 600 &
    sleep 600
    ;;
esac
"#;

pub struct Fake {
    path: PathBuf,
}

impl Fake {
    pub fn new(place: &Workplace) -> Result<Fake, String> {
        place.write(ORDINARY, lines(0, 1, 5000, 100, "x").as_bytes())?;
        place.write(KILOBYTES, lines(0, 1, 5000, 1000, "x").as_bytes())?;
        for (name, fill) in [(BIG, "x"), (ESCAPES, "\u{1}")] {
            let [stdout, stderr] = [0, 1].map(|first| lines(first, 2, 2500, 400, fill));
            place.write(&format!("{name}.stdout"), stdout.as_bytes())?;
            place.write(&format!("{name}.stderr"), stderr.as_bytes())?;
        }
        let piece = format!("2026-01-01T00:00:00.000000000Z {}", "x".repeat(16 * 1024));
        place.write("64-pieces", piece.repeat(64).as_bytes())?;

        let pipe = place.path().join(PIPED);
        let made = Command::new("mkfifo").arg(pipe).status();
        made.map_err(|error| format!("mkfifo: {error}"))?;

        let path = place.write("docker", SCRIPT.as_bytes())?;
        let made = Command::new("chmod").arg("755").arg(&path).status();
        made.map_err(|error| format!("chmod: {error}"))?;
        Ok(Fake { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Lines as `docker logs --timestamps` prints them, `step` nanoseconds apart, each with `length`
/// bytes of text: a number and `fill`.
fn lines(first: usize, step: usize, count: usize, length: usize, fill: &str) -> String {
    let rest = fill.repeat(length - 9);
    let mut text = String::new();
    for index in 0..count {
        let time = first + index * step;
        // Writing to a string can't fail.
        let _ = writeln!(text, "2026-01-01T00:00:00.{time:09}Z {index:08} {rest}");
    }
    text
}

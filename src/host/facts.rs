//! What stays the same while this machine runs: its kernel, distribution, processors, memory and init
//! system.

use std::fs::File;
use std::io::Read;

use serde::Serialize;

use super::init::Init;
use super::usage;

/// In bytes. More of a file is not read; the lines that are needed come first.
const LIMIT: u64 = 8 * 1024;
/// In characters.
const NAME_LIMIT: usize = 128;

/// As `register` tells them. What can't be read is absent.
#[derive(Serialize)]
pub struct Facts {
    kernel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    distribution: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<u32>,
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_total: Option<u64>,
    init: &'static str,
}

impl Facts {
    pub fn read() -> Facts {
        let os_release = ["/etc/os-release", "/usr/lib/os-release"].into_iter().find_map(bounded);
        let cpus = bounded("/sys/devices/system/cpu/online");
        Facts {
            kernel: shown(&rustix::system::uname().release().to_string_lossy()),
            distribution: os_release.as_deref().and_then(distribution),
            cpus: cpus.as_deref().and_then(count),
            mem_total: usage::read_memory_total(),
            init: match Init::find() {
                Init::Systemd => "systemd",
                Init::OpenRc => "openrc",
                Init::None => "none",
            },
        }
    }
}

fn bounded(path: &str) -> Option<String> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(LIMIT).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// PRETTY_NAME of an os-release(5) file.
fn distribution(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.trim().strip_prefix("PRETTY_NAME="))?;
    let name = shown(value.trim().trim_matches(['"', '\'']));
    (!name.is_empty()).then_some(name)
}

/// How many processors a list such as `0-3,6` names.
fn count(list: &str) -> Option<u32> {
    list.trim().split(',').try_fold(0u32, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(NAME_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        assert_eq!(["0", "0-3", "0-3,6", "0,2-3,7\n"].map(count), [1, 4, 5, 4].map(Some));
        assert_eq!(["", "x", "3-0", "0-4294967295"].map(count), [None; 4]);
    }

    #[test]
    fn a_distribution_has_a_name_of_one_short_line() {
        let debian = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(distribution(debian).as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(distribution("PRETTY_NAME='Void'").as_deref(), Some("Void"));
        assert_eq!(distribution("PRETTY_NAME=\"\"\nNAME=x"), None);
        let long = format!("PRETTY_NAME=\u{1b}{}", "x".repeat(NAME_LIMIT + 1));
        assert_eq!(distribution(&long), Some("x".repeat(NAME_LIMIT)));
    }

    #[test]
    fn this_machine_has_a_kernel_processors_and_memory() {
        let facts = Facts::read();
        assert!(!facts.kernel.is_empty());
        assert!(facts.cpus.is_some_and(|cpus| cpus > 0));
        assert!(facts.mem_total.is_some_and(|bytes| bytes > 1 << 20));
    }
}

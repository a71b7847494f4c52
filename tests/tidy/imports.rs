//! The order of the rooms: what a file of `src/` may import. An arrow points from a file to what
//! it imports, and down: to its own room or to a room below. No two files import each other, on
//! whatever way round.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, none, rust_files};

/// The rooms, from the top down: a room may use those below it, and no other.
const ROOMS: [&str; 11] = [
    "main", "cli", "agent", "operator", "requests", "upgrade", "wire", "docker", "logging",
    "config", "host",
];
/// Below all others.
const GROUND: &str = "run";

/// A path of modules, without `crate`.
type Path = Vec<String>;

#[test]
fn imports_point_down() {
    let floor = |file: &str| {
        let room = file.split(['/', '.']).next().unwrap();
        let index = ROOMS.iter().position(|known| *known == room);
        index.or((room == GROUND).then_some(ROOMS.len()))
    };
    let arrows = arrows();
    let files = arrows.iter().flat_map(|(from, all)| all.iter().chain([from]));
    let unknown: BTreeSet<_> = files.filter(|file| floor(file).is_none()).cloned().collect();
    none(
        unknown.iter().map(|file| format!("src/{file}: its room is not in tests/tidy/imports.rs")),
    );
    none(arrows.iter().flat_map(|(from, all)| {
        let up = all.iter().filter(|to| floor(to) < floor(from));
        up.map(move |to| format!("src/{from}: imports src/{to}, which is above it"))
    }));
}

#[test]
fn no_imports_go_round() {
    let arrows = arrows();
    // What leads nowhere is on no circle, nor is what leads there alone.
    let mut left = arrows.clone();
    loop {
        let open: BTreeSet<String> = left.keys().cloned().collect();
        left.values_mut().for_each(|all| all.retain(|to| open.contains(to)));
        let before = left.len();
        left.retain(|_, all| !all.is_empty());
        if left.len() == before {
            break;
        }
    }
    none(left.iter().filter(|(from, _)| reaches(&left, from)).map(|(from, all)| {
        let all: Vec<_> = all.iter().map(|to| format!("src/{to}")).collect();
        format!("src/{from}: on a circle, by {}", all.join(", "))
    }));
}

/// Whether the arrows lead from a file back to it.
fn reaches(arrows: &BTreeMap<String, BTreeSet<String>>, from: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&str> = vec![from];
    while let Some(file) = next.pop() {
        for to in arrows.get(file).into_iter().flatten() {
            if to == from {
                return true;
            }
            if seen.insert(to.as_str()) {
                next.push(to);
            }
        }
    }
    false
}

/// From each file, by its path below `src`, to the files that it imports.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let files: Vec<File> = rust_files("src").iter().map(File::shipped).collect();
    let modules: BTreeMap<Path, String> = files
        .iter()
        .filter(|file| !file.text.is_empty())
        .map(|file| {
            let name = file.path.strip_prefix("src/").unwrap();
            (module(name), name.to_owned())
        })
        .collect();
    let mut arrows = BTreeMap::new();
    for (own, name) in &modules {
        let file = files.iter().find(|file| file.path == format!("src/{name}")).unwrap();
        let found = paths(&file.text).into_iter().filter_map(|path| {
            let mut path = absolute(own, path)?;
            // The longest part of it that is a file.
            while !path.is_empty() && !modules.contains_key(&path) {
                path.pop();
            }
            modules.get(&path).filter(|to| *to != name).cloned()
        });
        let found: BTreeSet<String> = found.filter(|to| *to != "main.rs").collect();
        arrows.insert(name.clone(), found);
    }
    arrows
}

/// `agent/mod.rs` is `agent`, `agent/event.rs` is `agent::event`.
fn module(file: &str) -> Path {
    let path = file.strip_suffix(".rs").unwrap();
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let path = if path == "main" { "" } else { path };
    path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A path as it is seen from the module `own`; none where it leads out of this program.
fn absolute(own: &Path, path: Path) -> Option<Path> {
    let mut base = match path.first()?.as_str() {
        "crate" => return Some(path[1..].to_vec()),
        "super" | "self" => own.clone(),
        // `main.rs` and each `mod.rs` name their own modules without a word before.
        _ => return Some(own.iter().cloned().chain(path).collect()),
    };
    let mut rest = path.as_slice();
    while let [first, after @ ..] = rest
        && ["super", "self"].contains(&first.as_str())
    {
        if first == "super" {
            base.pop();
        }
        rest = after;
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// All paths that a file's `use` lines and its code name.
fn paths(text: &str) -> Vec<Path> {
    let code: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut paths = Vec::new();
    for statement in code.split(';') {
        let start = statement.rfind("\nuse ").or_else(|| statement.rfind("\npub use "));
        let start = start.or_else(|| statement.rfind("\n    use "));
        if let Some(start) = start {
            let tree = statement[start..].trim().trim_start_matches("pub ");
            expand(&[], tree.trim_start_matches("use ").trim(), &mut paths);
        }
    }
    for word in code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        if word.contains("::") {
            paths.push(word.split("::").map(str::to_owned).collect());
        }
    }
    paths
}

/// Takes the braces of a `use` apart.
fn expand(before: &[String], tree: &str, paths: &mut Vec<Path>) {
    let Some(open) = tree.find('{') else {
        let tree = tree.split(" as ").next().unwrap();
        let own = tree.split("::").map(|part| part.trim().to_owned());
        paths.push(before.iter().cloned().chain(own).filter(|part| part != "self").collect());
        return;
    };
    let prefix = tree[..open].trim_end_matches("::").split("::").map(|part| part.trim().to_owned());
    let prefix: Vec<String> = before.iter().cloned().chain(prefix).collect();
    let inner = tree[open + 1..].trim_end();
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let (mut depth, mut start) = (0, 0);
    for (index, character) in inner.char_indices().chain([(inner.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let item = inner[start..index].trim();
                if !item.is_empty() {
                    expand(&prefix, item, paths);
                }
                start = index + 1;
            }
            _ => {}
        }
    }
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let text = "\nuse crate::a::{self, b::{C, D}};\npub use super::e::F;\nlet x = crate::g::h();";
    let found: Vec<String> = paths(text).iter().map(|path| path.join("::")).collect();
    for path in ["crate::a", "crate::a::b::C", "crate::a::b::D", "super::e::F", "crate::g::h"] {
        assert!(found.iter().any(|there| there == path), "{path} in {found:?}");
    }
    let own = module("a/b.rs");
    let seen = |path: &str| absolute(&own, path.split("::").map(str::to_owned).collect());
    assert_eq!(seen("super::c::D"), Some(module("a/c/D.rs")));
    assert_eq!(seen("crate::c"), Some(module("c.rs")));
}

//! The protocol's page, schemas and AsyncAPI document: each in itself and with the others.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use super::none;
use crate::support::schemas::{Conversation, Schemas};

const PAGE: &str = "dist/protocol.md";
const FOLDER: &str = "dist/protocol";

/// A rule of the page: `- <b id="A-REG-1">A-REG-1</b> The agent MUST ...`, its sentence on one line.
struct Rule {
    id: String,
    sentence: String,
}

#[test]
fn schemas_are_schemas_and_every_reference_leads_to_one() {
    Schemas::read().map(drop).unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn a_rule_has_an_id_of_its_own_and_says_must_or_should() {
    let page = page();
    let (rules, rest) = rules(&page);
    assert!(rules.len() > 100, "{} rules were found", rules.len());
    let is_normative = |text: &str| text.contains("MUST") || text.contains("SHOULD");
    let mut ids = BTreeSet::new();
    let mut faults = Vec::new();
    for Rule { id, sentence } in &rules {
        let parts: Vec<&str> = id.split('-').collect();
        if !matches!(parts[..], ["A" | "G", _, number] if number.parse::<u32>().is_ok()) {
            faults.push(format!("{PAGE}: {id}: it has to be like A-REG-1 or G-REG-1"));
        }
        if !ids.insert(id) {
            faults.push(format!("{PAGE}: {id}: another rule has this id"));
        }
        if !is_normative(sentence) {
            faults.push(format!("{PAGE}: {id}: it says neither MUST nor SHOULD"));
        }
    }
    // What stands before explains the words.
    let body = rest.iter().skip_while(|line| **line != "## The smallest gateway");
    let without_id = body.filter(|line| is_normative(line));
    faults.extend(without_id.map(|line| format!("{PAGE}: a rule without an id: {line}")));
    none(faults);
}

#[test]
fn a_link_within_the_page_leads_somewhere() {
    let page = page();
    let heading = |line: &str| -> String {
        let kept = |c: &char| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_';
        line.trim_start_matches(['#', ' ']).to_lowercase().chars().filter(kept).collect()
    };
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let mut targets: BTreeSet<String> =
        headings.map(|line| heading(line).replace(' ', "-")).collect();
    targets.extend(rules(&page).0.into_iter().map(|rule| rule.id));
    let links = page.split("](#").skip(1).filter_map(|link| link.split(')').next());
    none(
        links
            .filter(|link| !targets.contains(*link))
            .map(|link| format!("{PAGE}: #{link}: leads nowhere")),
    );
}

#[test]
fn an_example_on_the_page_keeps_to_the_schemas() {
    let page = page();
    let mut count = 0;
    for block in page.split("\n```\n") {
        let mut conversation = Conversation::default();
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let answer = lines.peek().copied().unwrap_or_default();
            let is_refused =
                ["-32700", "-32600", "-32602"].iter().any(|code| answer.contains(code));
            match (line.strip_prefix("< "), line.strip_prefix("> ")) {
                (Some(message), _) if message.ends_with('}') => conversation.from_agent(message),
                // Broken on purpose.
                (_, Some(message)) if is_refused => conversation.note(message),
                (_, Some(message)) if message.ends_with('}') => conversation.from_gateway(message),
                _ => continue,
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count} messages were found");
}

#[test]
fn the_asyncapi_document_has_every_message() {
    let text = fs::read_to_string(format!("{FOLDER}/asyncapi.yaml")).expect("it is there");
    let documents = YamlLoader::load_from_str(&text).unwrap_or_else(|fault| panic!("{fault}"));
    let document = json(&documents[0]);
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    let mut faults = Vec::new();
    for reference in &references {
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let found = match file {
            "" => document.pointer(pointer).is_some(),
            file => schema(file).is_some_and(|schema| schema.pointer(pointer).is_some()),
        };
        if !found {
            faults.push(format!("{FOLDER}/asyncapi.yaml: {reference}: leads nowhere"));
        }
    }
    for file in fs::read_dir(FOLDER).expect("it is there").flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let schema = schema(&name).unwrap_or_default();
        for message in ["request", "response", "refusal", "notification"] {
            let reference = format!("{name}#/$defs/{message}");
            let is_message = name != "common.json" && schema["$defs"].get(message).is_some();
            if is_message && !references.contains(&reference) {
                faults.push(format!("{FOLDER}/asyncapi.yaml: {reference}: is not there"));
            }
        }
    }
    assert!(references.len() > 30, "{references:?}");
    none(faults);
}

fn page() -> String {
    fs::read_to_string(PAGE).expect("it is there")
}

/// The rules, and the lines that belong to none.
fn rules(page: &str) -> (Vec<Rule>, Vec<&str>) {
    let (mut rules, mut rest) = (Vec::new(), Vec::new());
    let mut open = false;
    for line in page.lines() {
        let rule = begun(line);
        open = rule.is_some() || open && line.starts_with("  ");
        match (rule, rules.last_mut()) {
            (Some(rule), _) => rules.push(rule),
            (None, Some(Rule { sentence, .. })) if open => *sentence += &line[1..],
            _ => rest.push(line),
        }
    }
    (rules, rest)
}

/// The rule that begins on this line.
fn begun(line: &str) -> Option<Rule> {
    let (id, rest) = line.strip_prefix("- <b id=\"")?.split_once("\">")?;
    let sentence = rest.strip_prefix(id)?.strip_prefix("</b> ")?;
    Some(Rule { id: id.to_owned(), sentence: sentence.to_owned() })
}

fn schema(name: &str) -> Option<Value> {
    let text = fs::read_to_string(format!("{FOLDER}/{name}")).ok()?;
    serde_json::from_str(&text).ok()
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

fn json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Hash(members) => members
            .iter()
            .map(|(name, value)| (name.as_str().unwrap_or_default().to_owned(), json(value)))
            .collect(),
        Yaml::Array(items) => items.iter().map(json).collect(),
        Yaml::Boolean(value) => Value::from(*value),
        scalar => Value::from(scalar.as_str()),
    }
}

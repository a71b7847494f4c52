//! Holds the messages of a session against the schemas of `dist/protocol/`. A message that breaks its
//! schema fails the test, with the message and the reason in one line.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::LazyLock,
};

use jsonschema::{Registry, Validator};
use serde_json::{Map, Value, json, value::RawValue};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist/protocol");
/// Characters that are shown of a message, and of what is wrong with it.
const SHOWN: usize = 400;

/// All schemas of the folder, by file and definition, such as `register` and `request`. A file without
/// definitions is a schema itself, under the definition "".
pub struct Schemas(BTreeMap<(String, String), Validator>);

static SCHEMAS: LazyLock<Schemas> =
    LazyLock::new(|| Schemas::read().unwrap_or_else(|e| panic!("{e}")));

impl Schemas {
    /// Reads all files.
    ///
    /// # Errors
    /// A file is no schema, or refers to a schema that is not there.
    pub fn read() -> Result<Schemas, String> {
        let files = files();
        let mut registry = Registry::new();
        for (name, schema) in &files {
            jsonschema::draft202012::meta::validate(schema)
                .map_err(|error| format!("{name}.json: {}: {error}", error.instance_path()))?;
            registry =
                registry.add(id(name, schema)?, schema).map_err(|e| format!("{name}: {e}"))?;
        }
        let registry = registry.prepare().map_err(|error| error.to_string())?;
        let options = jsonschema::options().with_registry(&registry).offline();
        let mut validators = BTreeMap::new();
        for (name, schema) in &files {
            let definitions = schema["$defs"].as_object().map(|all| all.keys().cloned().collect());
            for definition in definitions.unwrap_or(vec![String::new()]) {
                let place = match &*definition {
                    "" => id(name, schema)?.to_owned(),
                    definition => format!("{}#/$defs/{definition}", id(name, schema)?),
                };
                let validator = options.build(&json!({ "$ref": place }));
                let validator = validator.map_err(|error| format!("{place}: {error}"))?;
                validators.insert((name.clone(), definition), validator);
            }
        }
        Ok(Schemas(validators))
    }

    fn find(&self, file: &str, definition: &str) -> Option<&Validator> {
        self.0.get(&(file.to_owned(), definition.to_owned()))
    }
}

/// The files by name, without `.json`.
fn files() -> BTreeMap<String, Value> {
    let entries = fs::read_dir(FOLDER).expect("dist/protocol is there").flatten();
    let paths = entries.map(|entry| entry.path());
    let schemas = paths.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    schemas.map(|path| (stem(&path), parse(&path))).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("it has an ending").to_string_lossy().into_owned()
}

fn parse(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("it was listed");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The `$id`, which ends in the file's name: so relative references lead to the same schema by file
/// and by id.
fn id<'a>(name: &str, schema: &'a Value) -> Result<&'a str, String> {
    let id = schema["$id"].as_str().unwrap_or_default();
    match id.ends_with(&format!("/{name}.json")) {
        true => Ok(id),
        false => Err(format!("{name}.json: its $id does not end in its name: {id:?}")),
    }
}

/// What both sides of a session have said, as far as it decides which schema is the next message's.
#[derive(Default)]
pub struct Conversation {
    /// The methods of the gateway's requests, by the JSON of their ids.
    asked: HashMap<String, String>,
}

impl Conversation {
    /// Checks a message of the agent.
    #[track_caller]
    pub fn from_agent(&self, text: &str) {
        let message = Message::parse(text);
        let (file, definition) = match (&message.method, message.id.as_deref()) {
            (Some(method), None) => (&**method, "notification"),
            (Some(method), Some(_)) => (&**method, "request"),
            (None, _) if message.has("error") => ("error", ""),
            (None, id) => match id.and_then(|id| self.asked.get(id)) {
                Some(method) => (&**method, "response"),
                None => panic!("the agent answers what it was not asked: {}", shown(text)),
            },
        };
        message.check("agent", file, definition);
    }

    /// Checks a message of the gateway that is as it should be.
    #[track_caller]
    pub fn from_gateway(&mut self, text: &str) {
        let message = Message::parse(text);
        match &message.method {
            // From the gateway, `register` is a method that the agent does not know.
            Some(method) if method != "register" && SCHEMAS.find(method, "request").is_some() => {
                message.check("gateway", method, "request");
            }
            Some(_) => message.check("gateway", "common", "request"),
            None if message.has("error") => message.check("gateway", "register", "refusal"),
            None => message.check("gateway", "register", "response"),
        }
        self.note(text);
    }

    /// Takes note of a text of the gateway that may be broken on purpose: the agent may answer it.
    pub fn note(&mut self, text: &str) {
        let Ok(members) = serde_json::from_str::<HashMap<String, Box<RawValue>>>(text) else {
            return;
        };
        let method = members.get("method").and_then(|raw| serde_json::from_str(raw.get()).ok());
        if let (Some(id), Some(method)) = (members.get("id"), method) {
            self.asked.insert(id.get().to_owned(), method);
        }
    }
}

/// A message, with its id as it was written.
struct Message<'a> {
    text: &'a str,
    id: Option<String>,
    method: Option<String>,
    value: Value,
}

impl Message<'_> {
    #[track_caller]
    fn parse(text: &str) -> Message<'_> {
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("no JSON object: {error}: {}", shown(text)));
        let id = members.get("id").map(|id| id.get().to_owned());
        let value = |(name, raw): (String, Box<RawValue>)| {
            // An id may be a number that no type holds.
            let is_number = raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit());
            let value = match name == "id" && is_number {
                true => json!(0),
                false => serde_json::from_str(raw.get()).expect("it was read before"),
            };
            (name, value)
        };
        let value = Value::Object(members.into_iter().map(value).collect::<Map<_, _>>());
        let method = value["method"].as_str().map(str::to_owned);
        Message { text, id, method, value }
    }

    fn has(&self, member: &str) -> bool {
        self.value.get(member).is_some()
    }

    #[track_caller]
    fn check(&self, from: &str, file: &str, definition: &str) {
        let Some(schema) = SCHEMAS.find(file, definition) else {
            panic!(
                "the {from} sends a {definition} {file:?}, which no schema has: {}",
                shown(self.text)
            )
        };
        if let Some(error) = schema.iter_errors(&self.value).next() {
            let (place, why) = (error.instance_path(), shown(&error.to_string()));
            let text = shown(self.text);
            panic!(
                "a message of the {from} breaks {file}.json, {definition}: {place}: {why}: {text}"
            );
        }
    }
}

fn shown(text: &str) -> String {
    text.trim_end().chars().take(SHOWN).collect()
}

//! `gateway token add|list|revoke`: makes and takes away API keys and agent tokens, in the folder of a
//! gateway that may be running.

use std::fmt::Write;
use std::path::Path;

use super::scope::Scopes;
use super::secret::{Hash, Kind, New};
use crate::agents::register::InstanceId;
use crate::clock::Moment;
use crate::store::keys::{Key, Keys};
use crate::store::{Error, Result};

pub enum Command {
    AddApi { name: String, scopes: Scopes },
    AddAgent { name: String, instance: Option<InstanceId> },
    List,
    Revoke { id: String },
}

/// What to print.
pub fn run(folder: &Path, command: Command) -> std::result::Result<String, String> {
    let done = Keys::open(folder).and_then(|keys| match command {
        Command::AddApi { name, scopes } => add(&keys, Kind::Api, name, scopes.to_string(), None),
        Command::AddAgent { name, instance } => {
            let instance = instance.map(|id| id.to_string());
            add(&keys, Kind::Agent, name, String::new(), instance)
        }
        Command::List => keys.list().map(|keys| table(&keys)),
        Command::Revoke { id } => keys.revoke(&id, Moment::now()).map(|revoked| match revoked {
            true => format!("revoked {id}\n"),
            false => String::new(),
        }),
    });
    match done {
        Ok(text) if text.is_empty() => {
            Err("no such key or token; see gateway token list".to_owned())
        }
        Ok(text) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
}

fn add(
    keys: &Keys,
    kind: Kind,
    name: String,
    scopes: String,
    instance: Option<String>,
) -> Result<String> {
    let new = New::make(kind).map_err(|_| Error::Random)?;
    keys.insert(&Key {
        id: new.id,
        kind: kind.name().to_owned(),
        name,
        hash: Hash::of(&new.secret).bytes().to_vec(),
        scopes,
        instance,
        created_at: Moment::now(),
        revoked_at: None,
    })?;
    Ok(format!("{}\n", new.secret))
}

fn table(keys: &[Key]) -> String {
    let mut table = format!("{:8}  {:5}  {:24}  {:24}  name\n", "id", "kind", "may", "made");
    for key in keys {
        let may = match (key.kind.as_str(), &key.instance) {
            ("api", _) => key.scopes.clone(),
            (_, Some(instance)) => format!("be {instance}"),
            (_, None) => "be any instance".to_owned(),
        };
        let revoked = key.revoked_at.map_or(String::new(), |at| format!(" (revoked {at})"));
        let (id, kind, made, name) = (&key.id, &key.kind, key.created_at, &key.name);
        let made = made.to_string();
        let _ = writeln!(table, "{id}  {kind:5}  {may:24}  {made:24}  {name}{revoked}");
    }
    table
}

//! What a tab may ask for on its browser's stream.

use crate::agents::calls::LogQuery;
use crate::agents::register::InstanceId;
use crate::api::logs::log_query;
use crate::api::problem::Problem;

pub enum Topic {
    /// Of every stream, asked for or not.
    Fleet,
    Instance(InstanceId),
    Logs(InstanceId, LogQuery),
}

/// Topics are named as they were asked for.
pub enum Change {
    Add(String, Topic),
    Remove(String),
}

/// A follower begins with at least one line.
const LINES: u32 = 1;

impl Topic {
    pub fn parse(name: &str, lines: Option<u32>, since: Option<String>) -> Result<Topic, Problem> {
        let id = |text: &str| InstanceId::try_from(text.to_owned()).map_err(Problem::invalid);
        match name.split_once(':') {
            None if name == "fleet" => Ok(Topic::Fleet),
            Some(("instance", name)) => Ok(Topic::Instance(id(name)?)),
            Some(("logs", name)) => {
                // An instance's id may have such a stroke in it, a container's name has none.
                let (instance, container) = name
                    .rsplit_once('/')
                    .ok_or_else(|| Problem::invalid("logs:INSTANCE/CONTAINER has no slash"))?;
                let lines = Some(lines.unwrap_or(LINES));
                Ok(Topic::Logs(id(instance)?, log_query(container.to_owned(), lines, since)?))
            }
            _ => Err(Problem::invalid("a topic is fleet, instance:ID or logs:ID/CONTAINER")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(matches!(Topic::parse("fleet", None, None), Ok(Topic::Fleet)));
        let Ok(Topic::Instance(id)) = Topic::parse("instance:a:b/c", None, None) else { panic!() };
        assert_eq!(id.as_str(), "a:b/c");
        let Ok(Topic::Logs(id, query)) = Topic::parse("logs:a/b:c/web", None, None) else {
            panic!()
        };
        assert_eq!((id.as_str(), query.container.as_str(), query.lines), ("a/b:c", "web", 1));
        for wrong in ["", "logs:", "logs:web", "logs:/web", "logs:a/", "logs:a/-f", "all:1"] {
            assert!(Topic::parse(wrong, None, None).is_err(), "{wrong}");
        }
        assert!(Topic::parse("logs:a/web", Some(0), None).is_err());
        assert!(Topic::parse("logs:a/web", None, Some("today".to_owned())).is_err());
    }
}

//! What a check comes to, where it is not "kept".

/// `Ok`: the rule was kept.
pub type Outcome<T = ()> = Result<T, Fault>;

#[derive(Clone, Debug)]
pub enum Fault {
    /// The agent broke the rule: FAIL, or WARN for a SHOULD.
    Broken(String),
    /// It could not be seen whether the agent keeps the rule: NOT TESTED.
    Unreached(String),
    /// The kit itself could not do its part: ERROR.
    Kit(String),
}

impl From<std::io::Error> for Fault {
    /// On a connection, an error is the agent's doing; the check has not seen what it came for.
    fn from(error: std::io::Error) -> Fault {
        Fault::Unreached(format!("the connection failed: {error}"))
    }
}

pub fn broken<T>(what: impl Into<String>) -> Outcome<T> {
    Err(Fault::Broken(what.into()))
}

pub fn unreached<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Fault::Unreached(why.into()))
}

/// The rule is broken, unless `holds`.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { broken(what()) }
}

//! Who an agent is, by its token.

use crate::agents::register::InstanceId;

#[derive(Clone, Debug)]
pub struct AgentIdentity {
    /// `None`: the token that the gateway was started with.
    pub token_id: Option<String>,
    /// The only instance that this token may be, if it is bound to one.
    pub instance: Option<InstanceId>,
}

impl AgentIdentity {
    pub fn may_be(&self, id: &InstanceId) -> bool {
        self.instance.as_ref().is_none_or(|bound| bound == id)
    }
}

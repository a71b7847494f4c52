//! Who an agent is, by its token, and how many sessions a token may have.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::agents::register::InstanceId;

/// Of a token that is bound to one instance, which needs one. Older ones may not have ended yet.
const SESSIONS: usize = 8;

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

/// How many each bound token has, by its id.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<String, usize>>);

/// One session of a token. Dropped, it counts no more.
pub struct Held {
    sessions: Arc<Sessions>,
    /// `None`: a token that is bound to no instance is not counted.
    token_id: Option<String>,
}

impl Sessions {
    pub fn hold(self: &Arc<Sessions>, identity: &AgentIdentity) -> Option<Held> {
        let token_id = identity.token_id.clone().filter(|_| identity.instance.is_some());
        if let Some(id) = &token_id {
            let mut counts = self.0.lock();
            let count = counts.get(id).copied().unwrap_or(0);
            if count >= SESSIONS {
                return None;
            }
            counts.insert(id.clone(), count + 1);
        }
        Some(Held { sessions: self.clone(), token_id })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(id) = &self.token_id else { return };
        let mut counts = self.sessions.0.lock();
        if let Some(count) = counts.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                counts.remove(id);
            }
        }
    }
}

//! The ground under all rooms: the one sleep, the one door for child processes, and the messages to
//! the service manager. It knows nothing of the agent.

pub mod wait;
pub mod notify;
pub mod variables;
pub mod job;
pub mod command;

#[cfg(test)]
pub mod tests;

//! What this machine is and has: its clock, its use of processor and memory, its disks, its init
//! system, and the names under which this program appears on it.

pub mod authority;
pub mod facts;
pub mod files;
pub mod init;
pub mod lock;
pub mod mounts;
pub mod paths;
pub mod process;
pub mod redact;
pub mod restart;
pub mod timestamp;
pub mod usage;
pub mod version;

#[cfg(test)]
mod tests;

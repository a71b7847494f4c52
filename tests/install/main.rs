//! How the agent comes onto a machine and off it again: the install script, the program's own
//! `install` and `uninstall`, and the files of `dist/`.
//!
//! Nothing here touches the machine itself. The script gets a program that only writes down how it
//! was called; the real one is run in a root of its own. A service manager as the first process is
//! tests/vm's business.

mod again;
mod dist_files;
mod fetching;
mod program;
mod script;
mod signatures;
mod support;
mod terminal;

//! A whole virtual machine round the agent: systemd as its first process, the reference unit, real
//! upgrades between real binaries. The gateway and the download server are outside.

mod support;

mod own_unit;
mod service;

mod good_upgrade;
mod kill_sweep;
mod killed;
mod refused;
mod rolled_back;

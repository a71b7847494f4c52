//! A whole virtual machine round the agent, from its first boot to its last: systemd or OpenRC as its
//! first process, cloud-init, docker, real upgrades between real binaries. The gateway and the
//! download server are outside.

mod support;

mod cloud_init;
mod docker;
mod empty;
mod openrc;
mod limits;
mod look_alike;
mod own_unit;
mod service;

mod good_upgrade;
mod guard;
mod kill_sweep;
mod killed;
mod refused;
mod rolled_back;

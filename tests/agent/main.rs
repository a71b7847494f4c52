//! The agent from outside: the real binary against a raw-socket peer, one file for each subject.

use vmkit_test_support as support;

mod openssl;

mod opening;
mod register;

mod jsonrpc;
mod params;

mod frames;
mod large_replies;

mod gateway_in_python;

mod in_flight;

mod logs_real;
mod logs_stream;

mod follow;
mod follow_ends;
mod follow_gateway;
mod follow_load;
mod follow_real;

mod logs_failures;
mod logs_fake;
mod logs_flood;
mod logs_hung;

mod metrics;
mod metrics_docker;
mod metrics_containers;
mod metrics_host;

mod heartbeat;
mod reconnect;
mod shutdown;
mod notify;

mod dial_failures;
mod dial_http;
mod dial_neighbours;
mod dial_race;
mod dial_tls;
mod proxy;
mod real_proxy;

mod upgrade;
mod upgrade_by_hand;
mod upgrade_killed;
mod upgrade_load;
mod upgrade_refused;
mod upgrade_trust;

mod captured_session;
mod configuration;
mod log_bound;
mod log_output;
mod secrets;
mod threads;
mod token_of_file;

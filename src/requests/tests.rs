//! A session over loopback and a docker of the test's own, for unit tests of what goes on in a
//! session. For tests that run alone in their process.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use super::Context;
use crate::config::Config;
use crate::run::job::Children;
use crate::run::wait::{Interest, Waiter};
use crate::wire::frames::Metered;
use crate::wire::limits;
use crate::wire::rpc::{self, Incoming, Request};
use crate::wire::session::Session;
use crate::wire::transport::{Transport, Wire};

pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub waiter: Rc<Waiter>,
    pub children: Rc<Children>,
    pub config: Config,
    pub session: Session,
    gateway: WebSocket<TcpStream>,
    folder: PathBuf,
}

impl World {
    /// `docker` is the body of a shell script; `$1` is docker's subcommand.
    pub fn new(docker: &str) -> World {
        let folder = std::env::temp_dir().join(format!("vmkit-test-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let program = folder.join("docker");
        fs::write(&program, format!("#!/bin/sh\ncd '{}'\n{docker}\n", folder.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut config = Config::load().unwrap_or_else(|error| panic!("{error}"));
        config.docker = program.into();

        let waiter = Waiter::new().unwrap();
        let children = Children::new(Rc::clone(&waiter), Vec::new());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let gateway = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        gateway.set_nonblocking(true).unwrap();
        waiter.watch_socket(&socket, Interest::Read).unwrap();
        let wire = Wire::new(socket, Rc::clone(&waiter), Interest::Read);
        let stream = Metered::new(Transport::Plain(wire), Vec::new());
        let websocket = WebSocket::from_raw_socket(stream, Role::Client, Some(limits::websocket()));
        let session = Session::new(websocket, Instant::now());
        let gateway = WebSocket::from_raw_socket(gateway, Role::Server, None);
        World { waiter, children, config, session, gateway, folder }
    }

    pub fn context(&self) -> Context<'_> {
        Context { now: Instant::now(), config: &self.config, children: &self.children }
    }

    /// Lets the session write, and sleeps for some milliseconds at most.
    pub fn turn(&mut self) {
        let now = Instant::now();
        self.waiter.set_deadline(Some(now + Duration::from_millis(5)));
        assert!(matches!(self.session.turn(now), Ok(None)));
        self.children.reap();
    }

    /// What has come to the gateway.
    pub fn received(&mut self) -> Vec<Value> {
        let messages = std::iter::from_fn(|| self.gateway.read().ok());
        let texts = messages.filter_map(|message| match message {
            Message::Text(text) => Some(text),
            _ => None,
        });
        texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
    }

    /// Makes an empty file where docker runs.
    pub fn write(&self, name: &str) {
        fs::write(self.folder.join(name), "").unwrap();
    }

    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A request as the gateway sends it.
pub fn request(text: &str) -> Request {
    match rpc::parse(text) {
        Ok(Incoming::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

//! A session and what goes on in it: the requests in flight, and whether the gateway has taken
//! the agent in.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tungstenite::Utf8Bytes;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::config::Config;
use crate::requests::handlers::register;
use crate::requests::in_flight::Flights;
use crate::run::wait::Waiter;
use crate::wire::dial::Dialed;
use crate::wire::session::{Lost, Session};

pub struct Connected {
    pub session: Session,
    pub flights: Flights,
    pub since: Instant,
    /// When the gateway has acknowledged `register`.
    pub registered: Option<Instant>,
}

/// What a turn of a session comes up with.
pub enum News {
    Message(Utf8Bytes),
    /// The gateway has not acknowledged `register` in time.
    RegisterOverdue,
    Lost(Lost),
}

/// How long a session lived, for people.
pub struct Lived(pub Duration);

impl Connected {
    /// A session that begins with `register`.
    ///
    /// # Errors
    /// When the socket has no address any more.
    pub fn open(
        dialed: Dialed,
        now: Instant,
        config: &Config,
    ) -> io::Result<(Connected, SocketAddr)> {
        let mut session = Session::new(dialed.websocket, now);
        let ip = session.local_address()?;
        session.send(register::request(config, ip));
        let flights = Flights::default();
        Ok((Connected { session, flights, since: now, registered: None }, dialed.address))
    }

    /// One pass over what is in flight and over the session, which sleeps where nothing is to be
    /// done; not beyond what `others` have to do then.
    pub fn turn(&mut self, now: Instant, others: Option<Instant>, waiter: &Waiter) -> Option<News> {
        let overdue = self.since + register::PATIENCE;
        if self.session.is_closing() {
            self.flights = Flights::default();
        } else if self.registered.is_none() && now >= overdue {
            return Some(News::RegisterOverdue);
        }
        let again = self.flights.turn(now, &mut self.session);
        let deadlines = [
            others,
            again.then_some(now),
            Some(self.session.deadline()),
            self.flights.deadline(now),
            self.registered.is_none().then_some(overdue).filter(|_| !self.session.is_closing()),
        ];
        waiter.set_deadline(deadlines.into_iter().flatten().min());
        match self.session.turn(now) {
            Ok(message) => message.map(News::Message),
            Err(why) => Some(News::Lost(why)),
        }
    }

    /// Ends what is in flight, and says goodbye.
    pub fn leave(&mut self, now: Instant, code: CloseCode, why: String, limit: Duration) {
        self.flights = Flights::default();
        self.session.close(now, code, why, limit);
    }
}

impl fmt::Display for Lived {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let seconds = self.0.as_secs();
        match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
            (0, 0, 0, seconds) => write!(f, "{seconds} s"),
            (0, 0, minutes, seconds) => write!(f, "{minutes} min {seconds} s"),
            (0, hours, minutes, _) => write!(f, "{hours} h {minutes} min"),
            (days, hours, ..) => write!(f, "{days} d {hours} h"),
        }
    }
}

//! A TLS server that shares no code with the agent, openssl's, and the certificates that
//! administrators make with it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdin, Command, Stdio},
};

use crate::support::Scratch;

/// A folder with keys and certificates: `NAME.key`, `NAME.pem`.
pub struct Certificates(Scratch);

/// `openssl s_server`, until it is dropped.
pub struct OpensslServer {
    pub port: u16,
    child: Child,
    /// It ends with its standard input.
    _stdin: ChildStdin,
}

impl Certificates {
    pub fn new() -> Certificates {
        Certificates(Scratch::new())
    }

    pub fn path(&self, file: &str) -> String {
        self.0.path().join(file).display().to_string()
    }

    /// A CA, or another one of the same name.
    pub fn ca(&self, name: &str, subject: &str) {
        self.openssl(&format!("req -x509 -nodes {EC} -keyout {name}.key -out {name}.pem"), subject);
    }

    pub fn intermediate(&self, name: &str, subject: &str, ca: &str) {
        self.sign(name, EC, subject, ca, "basicConstraints=critical,CA:TRUE\n");
    }

    /// A certificate that `ca` signs, with these lines of extensions.
    pub fn leaf(&self, name: &str, ca: &str, extensions: &str) {
        self.sign(name, EC, "/CN=localhost", ca, extensions);
    }

    pub fn rsa_leaf(&self, name: &str, bits: u16, ca: &str, extensions: &str) {
        self.sign(name, &format!("-newkey rsa:{bits}"), "/CN=localhost", ca, extensions);
    }

    fn sign(&self, name: &str, key: &str, subject: &str, ca: &str, extensions: &str) {
        self.openssl(&format!("req -nodes {key} -keyout {name}.key -out {name}.csr"), subject);
        let mut sign = format!("x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key");
        sign.push_str(&format!(" -set_serial 1 -out {name}.pem"));
        if !extensions.is_empty() {
            self.0.write(&format!("{name}.ext"), extensions);
            sign.push_str(&format!(" -extfile {name}.ext"));
        }
        self.openssl(&sign, "");
    }

    /// Runs openssl with these arguments in the folder.
    pub fn openssl(&self, arguments: &str, subject: &str) {
        let mut command = Command::new("openssl");
        command.current_dir(self.0.path()).args(arguments.split_whitespace());
        if !subject.is_empty() {
            command.args(["-subj", subject]);
        }
        let output = command.output().expect("openssl is installed");
        assert!(output.status.success(), "openssl {arguments}: {output:?}");
    }

    /// A server with the certificate and key of this name, and these arguments.
    pub fn serve(&self, name: &str, arguments: &str) -> OpensslServer {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "openssl", "s_server"]);
        command.args(["-accept", "127.0.0.1:0"]);
        command.args(["-cert", &format!("{name}.pem"), "-key", &format!("{name}.key")]);
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("setpriv is installed");
        let stdin = child.stdin.take().expect("piped");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            line.strip_prefix("ACCEPT 127.0.0.1:").and_then(|port| port.parse().ok())
        });
        let port = port.unwrap_or_else(|| panic!("openssl s_server {arguments} does not serve"));
        OpensslServer { port, child, _stdin: stdin }
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";

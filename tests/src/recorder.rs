//! Servers that people are notified through: HTTP and SMTP, as far as a notice needs them. Each keeps what it got.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;

/// Listens on 127.0.0.1 as long as the process lives.
#[derive(Debug, Clone)]
pub struct Recorder {
    address: SocketAddr,
    got: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// Answers each request so, as in `302 Found\r\nLocation: http://other/`.
    pub fn http(answer: &'static str) -> Self {
        Self::serve(move |socket, got| {
            let mut reader = BufReader::new(socket.try_clone()?);
            let (mut request, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                request += &line;
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            got.lock().unwrap().push(format!("{request}\r\n{}", String::from_utf8_lossy(&body)));
            let mut socket = socket;
            write!(socket, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        })
    }

    /// Takes mails of `user` with `password`, which are given in the first line of what it got.
    pub fn smtp() -> Self {
        Self::serve(|socket, got| {
            let mut reader = BufReader::new(socket.try_clone()?);
            let mut socket = socket;
            socket.write_all(b"220 test ESMTP\r\n")?;
            let mut mail = String::new();
            let mut line = String::new();
            while reader.read_line(&mut line)? > 0 {
                let (verb, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
                match verb.to_uppercase().as_str() {
                    "EHLO" => socket.write_all(b"250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n")?,
                    "AUTH" => {
                        let secret = base64::engine::general_purpose::STANDARD
                            .decode(rest.trim_start_matches("PLAIN "))
                            .unwrap_or_default();
                        mail += &format!("{}\r\n", String::from_utf8_lossy(&secret).replace('\0', " "));
                        socket.write_all(b"235 ok\r\n")?;
                    }
                    "DATA" => {
                        socket.write_all(b"354 go on\r\n")?;
                        let mut text = String::new();
                        while reader.read_line(&mut text)? > 0 && !text.ends_with("\r\n.\r\n") {}
                        got.lock().unwrap().push(std::mem::take(&mut mail) + &text);
                        socket.write_all(b"250 taken\r\n")?;
                    }
                    "QUIT" => return socket.write_all(b"221 bye\r\n"),
                    "MAIL" | "RCPT" => {
                        mail += &line;
                        socket.write_all(b"250 ok\r\n")?;
                    }
                    _ => socket.write_all(b"250 ok\r\n")?,
                }
                line.clear();
            }
            Ok(())
        })
    }

    fn serve(
        serve: impl Fn(TcpStream, &Mutex<Vec<String>>) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::<Mutex<Vec<String>>>::default();
        let (kept, serve) = (got.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (kept, serve) = (kept.clone(), serve.clone());
                // A connection that breaks is the client's to report.
                std::thread::spawn(move || drop(serve(socket, &kept)));
            }
        });
        Self { address, got }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests or mails, whole, in the order in which they came.
    pub fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }

    /// The documents that were posted.
    #[track_caller]
    pub fn documents(&self) -> Vec<serde_json::Value> {
        let body = |request: String| request.split_once("\r\n\r\n").unwrap().1.to_owned();
        self.got().into_iter().map(|request| serde_json::from_str(&body(request)).unwrap()).collect()
    }
}

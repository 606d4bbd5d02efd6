//! A program that runs, and that is sent signals meanwhile.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::events::wait_until;
use crate::program::Output;

/// Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    errors: Option<JoinHandle<()>>,
    out: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    /// Starts a command.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let heard = said.clone();
        let errors = std::thread::spawn(move || {
            let mut line = Vec::new();
            while errors.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        let mut out = child.stdout.take().unwrap();
        let out = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).unwrap();
            bytes
        });
        Self { child, said, errors: Some(errors), out: Some(out) }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until its standard error has had `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("it says {text:?}"), || self.said.lock().unwrap().contains(text));
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes longer than `most`; it is then killed.
    #[track_caller]
    pub fn end_within(mut self, most: Duration) -> Output {
        let begun = Instant::now();
        let mut status = None;
        wait_until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some() || begun.elapsed() > most
        });
        if status.is_none() {
            let _ = self.child.kill();
        }
        let ended = self.child.wait().unwrap();
        let stdout = self.out.take().unwrap().join().unwrap();
        self.errors.take().unwrap().join().unwrap();
        let stderr = self.said.lock().unwrap().clone();
        assert!(status.is_some(), "it still ran after {most:?}; it said:\n{stderr}");
        Output {
            code: ended.code().unwrap_or(-1),
            json: serde_json::from_slice(&stdout).unwrap_or_default(),
            stdout,
            stderr,
        }
    }

    /// Waits for its end, for at most a minute.
    #[track_caller]
    pub fn end(self) -> Output {
        self.end_within(Duration::from_secs(55))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! `replay step` in a pseudo-terminal, with keys as a person presses them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::harness::{PATIENCE, Server};
use crate::replay::{NOBODY, golden, magnum, with_a_story};

const ROWS: u16 = 40;
const COLUMNS: u16 = 140;

/// After so long without a byte a screen is drawn: it is sent in one go.
const STILL: Duration = Duration::from_millis(500);

/// A program in a terminal.
pub struct Terminal {
    child: Child,
    keys: File,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
}

impl Terminal {
    /// Steps through the container of a server's story, in a terminal of this size.
    fn stepping(server: &Server, folder: &Path, (rows, columns): (u16, u16)) -> Self {
        let data = server.data();
        let args = ["replay", "step", "container/web", "--data", data.to_str().unwrap()];
        let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
        Self::of(command.args(args).current_dir(folder), (rows, columns))
    }

    /// Runs a command in a terminal of this size.
    pub fn of(command: &mut Command, (rows, columns): (u16, u16)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = || File::options().read(true).write(true).open(&name).unwrap();
        let child = command
            .env("TERM", "xterm-256color")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        let keys = File::from(master);
        let mut reader = keys.try_clone().unwrap();
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Ends with an error when the program is gone.
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, output, screen: vt100::Parser::new(rows, columns, 0) }
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen has something and nothing more is drawn, and gives it.
    #[track_caller]
    pub fn settles_at(&mut self, words: &str) -> String {
        self.shows(words);
        while let Ok(bytes) = self.output.recv_timeout(STILL) {
            self.screen.process(&bytes);
        }
        self.screen.screen().contents() + "\n"
    }

    /// Waits until the screen has something, and gives it.
    #[track_caller]
    fn shows(&mut self, words: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen.screen().contents();
            if screen.contains(words) {
                return screen;
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => panic!("no {words:?} on the screen:\n{screen}"),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[test]
fn a_person_steps_through_what_happened() {
    let server = with_a_story();
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::stepping(&server, folder.path(), (ROWS, COLUMNS));
    let screen = terminal.shows("~ desc: null → a shop");
    assert!(screen.contains("container.create_requested") && screen.contains("(web)"), "{screen}");
    golden("step.txt", &terminal.settles_at("desc"));
    // Back to the stop.
    terminal.press("k");
    terminal.shows("~ status: Running → Stopped");
    terminal.press("gv:3\r");
    terminal.shows("~ status: Stopped → Running");
    // The stop switched off: the container runs on.
    terminal.press("/container.stopped\r");
    terminal.shows("~ status: Running → Stopped");
    terminal.press(" ");
    let screen = terminal.settles_at("state, without events that are off");
    assert!(!screen.contains("Running → Stopped"), "{screen}");
    golden("step-without.txt", &screen);
    terminal.press(" g9999\r");
    terminal.shows("no event at '9999'");
    // A pinned field stays in sight.
    terminal.press("\tf");
    terminal.shows("pinned");
    terminal.press("e");
    golden("step-exported.txt", &terminal.settles_at("bundle.json"));
    terminal.press("q");
    assert!(terminal.child.wait().unwrap().success());
    let written = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    drop(server);
    // Kept beside the tests of Magnum it is one: this build still decides so.
    let checked = magnum(NOBODY, &["replay", "check", written.to_str().unwrap()]);
    assert_eq!((checked.code, checked.err.as_str()), (0, ""), "{checked:?}");
    golden("check-exported.txt", &checked.out);
}

#[test]
fn it_can_be_used_in_a_terminal_of_80_columns() {
    let server = with_a_story();
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::stepping(&server, folder.path(), (24, 80));
    terminal.shows("~ desc: null → a shop");
    terminal.press("k");
    let screen = terminal.settles_at("~ status: Running → Stopped");
    // Nothing that one needs is cut off: each event, who asked for it, and the keys.
    for words in [
        "create_requested",
        "start_requested",
        "stopped",
        "by magnum:worker",
        "req-",
        "q quit",
        "web",
    ] {
        assert!(screen.contains(words), "{words}\n{screen}");
    }
    terminal.press("q");
    assert!(terminal.child.wait().unwrap().success());
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let server = with_a_story();
    let done = magnum(server.url(), &["replay", "step", "container/web"]);
    assert_eq!((done.code, done.out.as_str()), (2, ""), "{done:?}");
    assert!(done.err.contains("needs a terminal"), "{done:?}");
}

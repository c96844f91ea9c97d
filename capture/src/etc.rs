//! The system's files that give names to numbers: services(5), protocols(5), networks(5), ethers(5). All have an entry
//! on each line, words between blanks, and comments from `#` on.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
};

/// Names of ports.
pub const SERVICES: &str = "/etc/services";
/// Names of the protocols above IP.
pub const PROTOCOLS: &str = "/etc/protocols";
/// Names of networks.
pub const NETWORKS: &str = "/etc/networks";
/// Names of Ethernet addresses.
pub const ETHERS: &str = "/etc/ethers";

/// The users of the machine, as far as they are local.
pub const PASSWD: &str = "/etc/passwd";

/// How much of a file is read, in bytes. The largest that distributions ship has 0.7 MiB.
const LIMIT: u64 = 2 << 20;

/// Hands the words of each entry to `each`. Bytes that are not ASCII concern the word that they are in only: it has no
/// text.
///
/// # Errors
///
/// When the file cannot be opened or read. What was read before has been handed out.
pub fn entries(path: &str, each: impl FnMut(&[&str])) -> io::Result<()> {
    read(File::open(path)?, each)
}

/// As [`entries`], of a file that is open.
pub fn read(file: impl Read, mut each: impl FnMut(&[&str])) -> io::Result<()> {
    let mut file = BufReader::new(file.take(LIMIT));
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        let entry = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let words = entry.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let words: Vec<&str> = words.map(text).collect();
        if !words.is_empty() {
            each(&words);
        }
        line.clear();
    }
    Ok(())
}

/// A user, by the numbers that the kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The number of the user's own group.
    pub gid: u32,
}

/// The user `name` in passwd(5): without the C library's modules, which a static executable does not have. `None`: there is no
/// such user in the file.
///
/// # Errors
///
/// When the file cannot be opened or read.
pub fn user(name: &str) -> io::Result<Option<User>> {
    user_in(File::open(PASSWD)?, name)
}

fn user_in(file: impl Read, name: &str) -> io::Result<Option<User>> {
    for line in BufReader::new(file.take(LIMIT)).split(b'\n') {
        let line = line?;
        let mut fields = line.split(|byte| *byte == b':');
        if fields.next() != Some(name.as_bytes()) || name.is_empty() {
            continue;
        }
        let mut number = || str::from_utf8(fields.next()?).ok()?.parse().ok();
        // The password comes first, which is no number.
        let _password = number();
        if let (Some(uid), Some(gid)) = (number(), number()) {
            return Ok(Some(User { uid, gid }));
        }
    }
    Ok(None)
}

/// A word that can be printed; else nothing.
fn text(word: &[u8]) -> &str {
    let printable = word.iter().all(u8::is_ascii_graphic);
    if printable { str::from_utf8(word).unwrap_or_default() } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(file: impl Read) -> Vec<String> {
        let mut entries = Vec::new();
        read(file, |words| entries.push(words.join(" "))).unwrap();
        entries
    }

    #[test]
    fn an_entry_is_the_words_before_the_comment() {
        let text = b"# services\nhttp 80/tcp www # web\n\n \t \nhttps\t443/tcp\r\nlast 1/tcp";
        assert_eq!(all(&text[..]), ["http 80/tcp www", "https 443/tcp", "last 1/tcp"]);
    }

    /// What is wrong with one word costs no other its text.
    #[test]
    fn bytes_that_cannot_be_printed_concern_their_word_only() {
        let long = [&b"long 7/tcp # "[..], &[b'x'; 100_000], b"\n"].concat();
        let crowd =
            b"caf\xe9 1/tcp\nfirst 2/tcp # caf\xe9\r\n\xff\n\0 4/tcp\nesc\x1b[m 5/tcp\nwhois++ 63/tcp";
        let expected = ["long 7/tcp", " 1/tcp", "first 2/tcp", "", " 4/tcp", " 5/tcp", "whois++ 63/tcp"];
        assert_eq!(all(&[&long[..], crowd].concat()[..]), expected);
    }

    #[test]
    fn a_file_without_an_end_is_read_up_to_the_limit() {
        assert!(all(io::repeat(b'\n')).is_empty());
        assert_eq!(all(b"http 80/tcp\n".chain(io::repeat(b'\n'))), ["http 80/tcp"]);
    }

    #[test]
    fn a_user_has_two_numbers() {
        let text =
            b"root:x:0:0:root:/root:/bin/bash\nshort:x:1\nbad:x:one:2::\n\xff:x:3:3::\n# nobody:x:4:4\n\
            nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\nnobody:x:1:1::\nnopassword::7:8\n";
        let user = |name| user_in(&text[..], name).unwrap();
        assert_eq!(user("root"), Some(User { uid: 0, gid: 0 }));
        assert_eq!(user("nobody"), Some(User { uid: 65534, gid: 65533 }));
        assert_eq!(user("nopassword"), Some(User { uid: 7, gid: 8 }));
        for name in ["", "short", "bad", "x", "0", "daemon"] {
            assert_eq!(user(name), None, "{name}");
        }
    }

    /// What was read before an error counts.
    #[test]
    fn a_file_that_fails_half_way_has_given_what_it_had() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut count = 0;
        assert!(read(b"http 80/tcp\n".chain(Fails), |_| count += 1).is_err());
        assert_eq!(count, 1);
    }
}
